"""The private pool: no name of ours meets another library's, and only what is asked for is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import Default

from finial.wire import pool
from finial.wire.gen import google_protobuf, google_rpc, grpc_health_v1

_SOURCE = Path(pool.__file__).parents[2]

# Another library's copy: the same full names, other files, in protobuf's default pool.
_FOREIGN = """
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass

def foreign():
    file = FileDescriptorProto(name="theirs.proto", package="grpc.health.v1", syntax="proto3")
    file.message_type.add(name="HealthCheckRequest").field.add(name="other", number=1, type=3, label=1)
    descriptor_pool.Default().Add(file)
    name = "grpc.health.v1.HealthCheckRequest"
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))(other=7)

def ours():
    from finial.wire.gen import grpc_health_v1
    return grpc_health_v1.HealthCheckRequest(service="x")
"""


def _run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(_SOURCE)!r})\n{script}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("order", ["a, b = foreign(), ours()", "b, a = ours(), foreign()"])
def test_the_same_names_can_be_loaded_by_another_library(order: str) -> None:
    check = "assert [m.SerializeToString().hex() for m in (a, b)] == ['0807', '0a0178']"
    result = _run(f"{_FOREIGN}\n{order}\n{check}\nassert type(a) is not type(b)")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("first", ["grpc_health.v1.health_pb2", "finial.wire.gen.grpc_health_v1"])
def test_the_published_health_messages_live_beside_ours(first: str) -> None:
    pytest.importorskip("grpc_health.v1.health_pb2", reason="grpcio-health-checking is not installed")
    script = """
from finial.wire.gen import grpc_health_v1
mine = grpc_health_v1.HealthCheckRequest(service="a")
from grpc_health.v1 import health_pb2
theirs = health_pb2.HealthCheckRequest.FromString(mine.SerializeToString())
assert theirs.service == "a" and type(theirs) is not type(mine)
"""
    result = _run(f"import {first}{script}")
    assert result.returncode == 0, result.stderr


def test_py_spiffe_lives_in_the_same_process() -> None:
    pytest.importorskip("spiffe", reason="py-spiffe is not installed")
    ours = """
from finial.wire import pool
for package in list(pool._PACKAGES): pool.load(package)
assert pool.message_class("X509SVIDRequest")().SerializeToString() == b""
"""
    for script in (f"import spiffe\n{ours}", f"{ours}\nimport spiffe"):
        result = _run(script)
        assert result.returncode == 0, result.stderr


def test_the_default_pool_never_hears_of_our_messages() -> None:
    result = _run(
        "from finial.wire import pool\n"
        "for package in list(pool._PACKAGES): pool.load(package)\n"
        "from google.protobuf.descriptor_pool import Default\n"
        "for file in pool._FILES:\n"
        "    try: Default().FindFileByName(file)\n"
        "    except KeyError: continue\n"
        "    raise SystemExit(file)"
    )
    assert result.returncode == 0, result.stderr


def test_a_package_is_loaded_when_something_of_it_is_asked_for() -> None:
    result = _run(
        "from finial.wire import pool\n"
        "from finial.wire.gen import google_rpc, grpc_health_v1\n"
        "assert not pool._added\n"
        "grpc_health_v1.HealthCheckRequest\n"
        "assert pool._added == {'grpc/health/v1/health.proto'}\n"
        "assert 'google.protobuf.any_pb2' not in sys.modules\n"
        "google_rpc.Status\n"
        "assert 'google/protobuf/any.proto' in pool._added\n"
        "assert 'google.protobuf.descriptor_pb2' not in sys.modules"
    )
    assert result.returncode == 0, result.stderr


def test_the_index_agrees_with_protobuf() -> None:
    data = pool._DESCRIPTORS.read_bytes()
    expected = {
        file.name: (file.package, tuple(file.dependency), file.SerializeToString(deterministic=True))
        for file in FileDescriptorSet.FromString(data).file
    }
    assert {name: tuple(file) for name, file in pool._FILES.items()} == expected


def test_the_index_reads_lengths_of_several_bytes_and_empty_files() -> None:
    long = FileDescriptorProto(name="a" * 300, package="b.c", dependency=["d", "google/protobuf/any.proto"])
    files = FileDescriptorSet(file=[long, FileDescriptorProto(name="bare")])
    index = pool._index(files.SerializeToString())
    assert index["a" * 300][:2] == ("b.c", ("d", "google/protobuf/any.proto"))
    assert index["bare"][:2] == ("", ())
    assert pool._by_package(index) == {
        "b.c": {"a" * 300},
        "": {"bare"},
        "google.protobuf": {"google/protobuf/any.proto"},
    }


def test_well_known_types_bring_what_they_need() -> None:
    pool._add("google/protobuf/type.proto")
    assert {"google/protobuf/any.proto", "google/protobuf/source_context.proto"} <= pool._added
    pool._add("google/protobuf/type.proto")


def test_well_known_types_keep_their_conveniences() -> None:
    packed = google_protobuf.Any()
    packed.Pack(grpc_health_v1.HealthCheckRequest(service="s"))
    unpacked = grpc_health_v1.HealthCheckRequest()
    assert packed.Unpack(unpacked)
    assert unpacked.service == "s"
    with pytest.raises(KeyError):
        Default().FindMessageTypeByName("google.rpc.Status")


def test_messages_are_found_by_full_name() -> None:
    assert pool.message_class("google.rpc.Status") is google_rpc.Status
    nested = pool.message_class("grpc.health.v1.HealthListResponse.StatusesEntry")
    assert nested.DESCRIPTOR.full_name == "grpc.health.v1.HealthListResponse.StatusesEntry"


@pytest.mark.parametrize("name", ["", "Status", "google.rpc", "google.rpc.Nothing", "a.b.C", "\0"])
def test_what_there_is_not_is_a_key_error(name: str) -> None:
    for find in (pool.message_class, pool.service_descriptor, pool.enum):
        with pytest.raises(KeyError):
            find(name)


def test_enums_translate_names_and_numbers() -> None:
    serving = pool.enum("grpc.health.v1.HealthCheckResponse.ServingStatus")
    assert serving.Value("SERVING") == 1
    assert serving.Name(3) == "SERVICE_UNKNOWN"


def test_threads_may_ask_at_once() -> None:
    result = _run(
        "sys.setswitchinterval(1e-6)\n"
        "import threading\n"
        "from finial.wire import pool\n"
        "gate, found = threading.Barrier(8), []\n"
        "def ask():\n"
        "    gate.wait()\n"
        "    found.append(pool.message_class('google.rpc.Status'))\n"
        "threads = [threading.Thread(target=ask) for _ in range(8)]\n"
        "for each in threads: each.start()\n"
        "for each in threads: each.join()\n"
        "assert len(found) == 8 and len(set(found)) == 1"
    )
    assert result.returncode == 0, result.stderr

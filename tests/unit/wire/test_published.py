"""Our .proto files say the same as the published ones: names, numbers, types, streams."""

from __future__ import annotations

import importlib

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from finial.wire import pool

_PUBLISHED = [
    ("grpc/health/v1/health.proto", "grpc_health.v1.health_pb2"),
    ("grpc/reflection/v1alpha/reflection.proto", "grpc_reflection.v1alpha.reflection_pb2"),
    ("google/rpc/status.proto", "google.rpc.status_pb2"),
    ("google/rpc/error_details.proto", "google.rpc.error_details_pb2"),
]


def _ours(name: str) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(pool._FILES[name].data)


def _bare(file: FileDescriptorProto) -> FileDescriptorProto:
    """Without what is not on the wire: the file's name and imports, options, order."""
    for field in ("name", "dependency", "options", "source_code_info"):
        file.ClearField(field)
    for service in file.service:
        service.method.sort(key=lambda method: method.name)
    file.message_type.sort(key=lambda message: message.name)
    for message in file.message_type:
        _bare_fields(message)
    return file


def _bare_fields(message: DescriptorProto) -> None:
    message.field.sort(key=lambda field: field.number)
    for field in message.field:
        field.ClearField("json_name")  # the published descriptors leave the usual one out
    for nested in message.nested_type:
        _bare_fields(nested)


@pytest.mark.parametrize(("name", "module"), _PUBLISHED)
def test_ours_is_as_published(name: str, module: str) -> None:
    pytest.importorskip(module, reason=f"the package with {module} is not installed")
    published = FileDescriptorProto.FromString(importlib.import_module(module).DESCRIPTOR.serialized_pb)
    ours = _bare(_ours(name))
    names = {message.name for message in ours.message_type}
    kept = [message for message in _bare(published).message_type if message.name in names]
    del published.message_type[:]
    published.message_type.extend(kept)  # of the error details we have those that we send
    assert ours == published


def test_the_workload_api_is_as_published() -> None:
    name = "spiffe._proto.workload_pb2"
    pytest.importorskip(name, reason="the package spiffe is not installed")
    published = FileDescriptorProto.FromString(importlib.import_module(name).DESCRIPTOR.serialized_pb)
    ours = _bare(_ours("workload.proto"))
    known = {message.name: message for message in _bare(published).message_type}
    assert {"X509SVIDResponse", "X509SVID", "X509BundlesResponse", "JWTSVID"} <= known.keys()
    # What is published there lacks the calls and messages for WIT-SVIDs, and nothing else of ours.
    assert [message for message in ours.message_type if message.name in known] == list(known.values())
    assert {message.name for message in ours.message_type} - known.keys() == {
        "WITBundlesRequest", "WITBundlesResponse", "WITSVID", "WITSVIDRequest", "WITSVIDResponse",
    }  # fmt: skip
    (our_service,), (their_service,) = ours.service, published.service
    assert our_service.name == their_service.name
    shared = [method for method in our_service.method if not method.name.startswith("FetchWIT")]
    assert shared == list(their_service.method)


def test_both_versions_of_reflection_are_the_same_on_the_wire() -> None:
    older = _bare(_ours("grpc/reflection/v1alpha/reflection.proto"))
    data = _bare(_ours("grpc/reflection/v1/reflection.proto")).SerializeToString()
    newer = FileDescriptorProto.FromString(data)
    assert str(newer).replace("grpc.reflection.v1", "grpc.reflection.v1alpha") == str(older)

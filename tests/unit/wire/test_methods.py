"""Methods from descriptors: paths, kinds, and codecs that refuse with ValueError and nothing else."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from finial.rpc.method import MethodKind
from finial.wire import methods, pool
from finial.wire.gen import google_rpc, grpc_health_v1, grpc_reflection_v1

_MESSAGES: list[type[Message]] = [
    grpc_health_v1.HealthCheckRequest,
    grpc_health_v1.HealthListResponse,
    grpc_reflection_v1.ServerReflectionRequest,
    grpc_reflection_v1.ServerReflectionResponse,
    google_rpc.Status,
    google_rpc.ErrorInfo,
]


def test_a_method_by_name_is_the_one_of_the_module() -> None:
    method = methods.method("grpc.health.v1.Health", "Watch")
    assert method is grpc_health_v1.Health.Watch
    assert method.path == "/grpc.health.v1.Health/Watch"
    assert method.kind is MethodKind.SERVER_STREAM


def test_messages_become_bytes_and_back() -> None:
    method = grpc_health_v1.Health.Check
    request = grpc_health_v1.HealthCheckRequest(service="a")
    assert method.encode_request(request) == b"\n\x01a"
    assert method.decode_request(b"\n\x01a") == request
    reply = grpc_health_v1.HealthCheckResponse(status=grpc_health_v1.HealthCheckResponse.SERVING)
    assert method.decode_reply(method.encode_reply(reply)) == reply


@pytest.mark.parametrize(("service", "name"), [("a.B", "C"), ("grpc.health.v1.Health", "Nothing")])
def test_what_there_is_not_is_a_key_error(service: str, name: str) -> None:
    with pytest.raises(KeyError):
        methods.method(service, name)


def test_each_kind_follows_the_streams() -> None:
    file = FileDescriptorProto(name="kinds.proto", package="kinds", syntax="proto3")
    file.message_type.add(name="M")
    service = file.service.add(name="S")
    for name, asks, answers in (
        ("U", False, False),
        ("S", False, True),
        ("C", True, False),
        ("B", True, True),
    ):
        method = service.method.add(name=name, input_type=".kinds.M", output_type=".kinds.M")
        method.client_streaming, method.server_streaming = asks, answers
    pool.POOL.AddSerializedFile(file.SerializeToString())
    made = methods.service_of(pool.service_descriptor("kinds.S"))
    assert [method.kind for method in made.methods.values()] == list(MethodKind)
    assert list(made.methods) == ["U", "S", "C", "B"]
    assert repr(made) == "<Service kinds.S>"


@pytest.mark.parametrize(
    "data",
    [
        b"\n",  # a length is missing
        b"\n\x05ab",  # cut off
        b"\n\x02\xff\xfe",  # no UTF-8
        b"\x0c",  # ends a group that never began
        b"\xff" * 11,  # a number that never ends
        b"\x00",  # field 0
    ],
)
def test_bad_bytes_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no grpc\.health\.v1\.HealthCheckRequest"):
        grpc_health_v1.Health.Check.decode_request(data)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_nesting_is_bounded(depth: int) -> None:
    groups = b"\x7b" * depth + b"\x7c" * depth  # unknown groups, one in the other
    with pytest.raises(ValueError, match="the bytes are no"):
        grpc_health_v1.Health.Check.decode_request(groups)


def test_nesting_of_known_messages_is_bounded() -> None:
    file = FileDescriptorProto(name="deep.proto", package="deep", syntax="proto3")
    message = file.message_type.add(name="Deep")
    message.field.add(name="inner", number=1, type=11, label=1, type_name=".deep.Deep")
    pool.POOL.AddSerializedFile(file.SerializeToString())
    decode = methods.decoder(pool.class_of(pool.POOL.FindMessageTypeByName("deep.Deep")))
    data = b""
    for _ in range(50):
        data = b"\n" + bytes([len(data)]) + data
    decode(data)
    for _ in range(2_000):
        size = len(data)
        data = b"\n" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + data
    with pytest.raises(ValueError, match="the bytes are no"):
        decode(data)


@pytest.mark.parametrize("message", _MESSAGES, ids=lambda message: str(message.DESCRIPTOR.full_name))
@given(data=st.binary(max_size=200))
def test_decoding_anything_gives_a_message_or_a_value_error(message: type[Message], data: bytes) -> None:
    try:
        decoded = methods.decoder(message)(data)
    except ValueError:
        return
    assert isinstance(decoded, message)

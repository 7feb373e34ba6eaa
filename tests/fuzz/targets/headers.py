"""What gRPC writes into headers: read or refused, nothing else."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.rpc import metadata as m
from finial.rpc.status import RpcError, StatusCode
from fuzz.target import Target, settled


def check(data: bytes) -> None:
    name, _, value = data.partition(b":")
    text = m.decode_message(value)
    assert m.decode_message(m.encode_message(text)) == text
    assert m.decode_message(m.encode_message(value.decode("latin-1"))) == value.decode("latin-1")
    try:
        seconds = m.decode_timeout(value)
    except RpcError as refused:
        settled(refused, StatusCode.INTERNAL)
    else:
        again = m.decode_timeout(m.encode_timeout(seconds))
        assert seconds * (1 - 1e-9) <= again <= seconds * 1.001 + 1e-6
    try:
        found = m.decode_metadata([(name, value)])
    except RpcError as refused:
        settled(refused, StatusCode.INVALID_ARGUMENT)
        return
    assert all(isinstance(item, bytes) == key.endswith("-bin") for key, item in found)
    try:
        sent = m.encode_metadata(found)
    except ValueError as refused:  # a peer may send what we would not
        assert str(refused).isprintable()
    else:
        assert [item for pair in sent for item in m.decode_metadata([pair])] == list(found)


def corpus() -> list[bytes]:
    fields = [b"a-bin:YQ==,Yg", b"a:text", b"grpc-timeout:10S", b"x:100%25 f%C3%BCr", b"x:%zz%"]
    return [*fields, b"x:99999999H", b"x:1n", b"te:x", b":path:x", b"A:x"]


def generate(source: random.Random) -> bytes:
    if source.random() < 0.01:
        return b"a:" + b"x" * source.randint(8000, 9000)
    digits = str(source.randrange(10 ** source.randint(1, 9))) + source.choice("HMSmunx")
    name = source.choice((b"a-bin:", b"grpc-timeout:", b"x:%", b"a_.-0:", b"-bin:", b"A:", b"te:"))
    return name + (digits.encode() if source.random() < 0.7 else source.randbytes(source.randint(0, 9)))


_PARSER = ("finial.rpc.metadata",)
TARGET = Target("headers", corpus, check, generate, modules=_PARSER)

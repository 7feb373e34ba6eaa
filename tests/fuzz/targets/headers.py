"""What gRPC writes into headers: read or refused, nothing else."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.rpc import metadata as m
from finial.rpc.status import RpcError
from fuzz.target import Target


def check(data: bytes) -> None:
    name, _, value = data.partition(b":")
    text = m.decode_message(value)
    assert m.decode_message(m.encode_message(text)) == text
    try:
        assert m.decode_timeout(value) >= 0
    except RpcError as refused:
        assert refused.message
    try:
        for key, item in m.decode_metadata([(name, value)]):
            assert isinstance(item, bytes) == key.endswith("-bin")
    except RpcError as refused:
        assert refused.message


def corpus() -> list[bytes]:
    return [b"a-bin:YQ==,Yg", b"a:text", b"grpc-timeout:10S", b"x:100%25 f%C3%BCr", b"x:%zz%"]


def generate(source: random.Random) -> bytes:
    digits = str(source.randrange(10**9)) + source.choice("HMSmunx")
    return source.choice((b"a-bin:", b"grpc-timeout:", b"x:%")) + digits.encode()


_PARSER = ("finial.rpc.metadata",)
TARGET = Target("headers", corpus, check, generate, modules=_PARSER)

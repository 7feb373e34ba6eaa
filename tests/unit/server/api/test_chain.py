"""The chain: who calls is judged before anything that came is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from finial.rpc import Channel, Peer, RpcError, Server, StatusCode
from finial.server.api import chain
from finial.server.api.chain import Caller
from finial.server.policy import Role
from support.rpc import ECHO, run, socket_path


class _Door:
    """Admits, or not."""

    def __init__(self, *, opens: bool) -> None:
        self.opens = opens

    async def admit(self, peer: Peer, path: str) -> Caller:
        if not self.opens:
            raise RpcError(StatusCode.PERMISSION_DENIED, f"not {path}")
        return Caller(Role.LOCAL, peer.address)


async def _call(door: _Door, decode: Any, request: bytes) -> bytes:
    async def answer(request: bytes, caller: Caller) -> bytes:
        assert caller.role is Role.LOCAL
        return request.upper()

    endpoint = chain.unary(replace(ECHO, decode_request=decode), answer)
    address = socket_path()
    async with Server(chain.routes([endpoint], door)) as server, Channel(address) as channel:
        await server.listen(address)
        return await channel.unary(ECHO, request)


def test_a_caller_that_is_not_admitted_has_nothing_decoded() -> None:
    decoded: list[bytes] = []

    def decode(data: bytes) -> bytes:
        decoded.append(data)
        return data

    with pytest.raises(RpcError, match="not /finial.test.Bytes/Echo") as caught:
        run(_call(_Door(opens=False), decode, b"request"))
    assert caught.value.code is StatusCode.PERMISSION_DENIED
    assert decoded == []
    assert run(_call(_Door(opens=True), decode, b"request")) == b"REQUEST"
    assert decoded == [b"request"]


def test_a_request_that_is_malformed_is_refused_once_its_caller_is_admitted() -> None:
    def decode(data: bytes) -> bytes:
        raise ValueError("the bytes are no Request")

    with pytest.raises(RpcError, match="the request is malformed: the bytes are no Request") as caught:
        run(_call(_Door(opens=True), decode, b"request"))
    assert caught.value.code is StatusCode.INTERNAL

"""The chain: who calls is judged before anything that came is looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hyperframe import frame as f

from finial.rpc import Channel, MethodKind, Peer, RpcError, Server, StatusCode
from finial.server.api import chain
from finial.server.api.chain import Caller
from finial.server.policy import Role
from finial.wire.force import FORCE
from finial.wire.hints import REMAINING
from support.raw import compressed, raw
from support.rpc import ECHO, ENGINES, method, pair, run, socket_path

GATED = method("Gated", MethodKind.UNARY)


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


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("opens", [False, True])
def test_a_caller_that_is_not_admitted_has_nothing_inflated(
    engine: str, opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflated: list[bytes] = []

    def inflate(data: bytes, most: int, path: bytes) -> bytes:
        inflated.append(data)
        return b"inflated"

    async def answer(request: bytes, caller: Caller) -> bytes:
        return request

    async def main() -> None:
        routes = chain.routes([chain.unary(GATED, answer)], _Door(opens=opens))
        async with pair(engine, routes=routes) as it, raw(it) as client:
            message = f.DataFrame(1, compressed(bytes(1_000_000)), flags=["END_STREAM"])
            client.send(client.headers(1, GATED.path, {"grpc-encoding": "gzip"}), message)
            assert ("grpc-status" in await client.status()) is not opens

    monkeypatch.setattr("finial.rpc.framing.inflate", inflate)
    run(main())
    assert len(inflated) == opens


def test_a_request_that_is_malformed_is_refused_once_its_caller_is_admitted() -> None:
    def decode(data: bytes) -> bytes:
        raise ValueError("the bytes are no Request")

    with pytest.raises(RpcError, match="the request is malformed: the bytes are no Request") as caught:
        run(_call(_Door(opens=True), decode, b"request"))
    assert caught.value.code is StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("role", "metadata", "remaining"),
    [
        (Role.AGENT, [(REMAINING, "90")], timedelta(seconds=90)),
        (Role.AGENT, [(REMAINING, "0")], timedelta(0)),
        (Role.AGENT, [], None),
        (Role.AGENT, [(REMAINING, "soon")], None),
        (Role.AGENT, [(REMAINING, "1"), (REMAINING, "2")], None),
        (Role.LOCAL, [(REMAINING, "90")], None),
        (Role.ADMIN, [(REMAINING, "90")], None),
    ],
)
def test_what_an_agent_says_of_what_it_holds_reaches_the_handler(
    role: Role, metadata: list[tuple[str, str]], remaining: timedelta | None
) -> None:
    seen: list[Caller] = []

    class Door:
        async def admit(self, peer: Peer, path: str) -> Caller:
            return Caller(role, peer.address)

    async def answer(request: bytes, caller: Caller) -> bytes:
        seen.append(caller)
        return request

    async def main() -> None:
        address = socket_path()
        routes = chain.routes([chain.unary(ECHO, answer)], Door())
        async with Server(routes) as server, Channel(address) as channel:
            await server.listen(address)
            await channel.unary(ECHO, b"x", metadata=metadata)

    run(main())
    assert [(caller.role, caller.remaining) for caller in seen] == [(role, remaining)]


@pytest.mark.parametrize("engine", ENGINES)
def test_metadata_that_cannot_be_read_keeps_no_agent_out(engine: str) -> None:
    seen: list[timedelta | None] = []

    class Door:
        async def admit(self, peer: Peer, path: str) -> Caller:
            return Caller(Role.AGENT, peer.address)

    async def answer(request: bytes, caller: Caller) -> bytes:
        seen.append(caller.remaining)
        return request

    async def main() -> None:
        routes = chain.routes([chain.unary(GATED, answer)], Door())
        async with pair(engine, routes=routes) as it, raw(it) as client:
            headers = {REMAINING: "5", "other-bin": "!"}
            message = f.DataFrame(1, bytes(5), flags=["END_STREAM"])
            client.send(client.headers(1, GATED.path, headers), message)
            assert "grpc-status" not in await client.status()  # which a refusal would have at once

    run(main())
    assert seen == [None]


@pytest.mark.parametrize(
    ("role", "metadata", "forced"),
    [
        (Role.LOCAL, [FORCE], True),
        (Role.ADMIN, [("other", "x"), FORCE], True),
        (Role.ADMIN, [], False),
        (Role.LOCAL, [("finial-force", "false")], False),
        (Role.AGENT, [FORCE], False),
        (Role.ANY, [FORCE], False),
    ],
)
def test_what_an_operator_insists_on_reaches_the_handler(
    role: Role, metadata: list[tuple[str, str]], forced: bool
) -> None:
    seen: list[Caller] = []

    class Door:
        async def admit(self, peer: Peer, path: str) -> Caller:
            return Caller(role, peer.address)

    async def answer(request: bytes, caller: Caller) -> bytes:
        seen.append(caller)
        return request

    async def main() -> None:
        address = socket_path()
        routes = chain.routes([chain.unary(ECHO, answer)], Door())
        async with Server(routes) as server, Channel(address) as channel:
            await server.listen(address)
            await channel.unary(ECHO, b"x", metadata=metadata)
            await channel.unary(ECHO, b"x", metadata=metadata, timeout=timedelta(minutes=1))

    run(main())
    assert [caller.force for caller in seen] == [forced, forced]
    assert seen[0].patience is None
    if role in {Role.LOCAL, Role.ADMIN}:
        assert seen[1].patience is not None
        assert timedelta(seconds=30) < seen[1].patience <= timedelta(minutes=1)

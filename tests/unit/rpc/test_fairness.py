"""One connection's many calls do not keep the calls of others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from h2.connection import H2Connection
from hyperframe import frame as f

from finial.rpc import LOCAL, Channel, MethodKind, Rate, Server, Tcp, unary
from finial.rpc.connection import Connection
from finial.rpc.engine import Headers
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import frame
from finial.rpc.server import ServerConnection
from finial.rpc.turns import STARTS
from support.certs import Authority, client_tls, server_tls
from support.raw import Raw, raw
from support.rpc import ECHO, ECHO_LATER, ENGINES, HANG, Bytes, Call, Service, eventually, method, pair, run

pytestmark = pytest.mark.parametrize("engine", ENGINES)

BESIDE = method("Beside", MethodKind.UNARY)
MANY = 400
HOME = Authority("home.test")


def ids(count: int, first: int = 1) -> Iterable[int]:
    return range(first, first + 2 * count, 2)


def write(client: Raw, *frames: f.Frame) -> None:
    """All in one piece."""
    client.writer.write(b"".join(each.serialize() for each in frames))


def call(client: Raw, stream_id: int, path: str) -> list[f.Frame]:
    body = f.DataFrame(stream_id, frame(b"x"), flags=["END_STREAM"])
    return [client.headers(stream_id, path), body]


async def greeted(client: Raw) -> None:
    """Wait until the server has taken the connection up."""
    client.send(f.PingFrame(0, b"12345678"))
    await client.frame(f.PingFrame)


@pytest.mark.parametrize("path", [ECHO.path, ECHO_LATER.path])
@pytest.mark.parametrize("floods", [1, 5])
def test_a_bystander_is_answered_after_few_handlers_of_others(engine: str, path: str, floods: int) -> None:
    async def main() -> None:
        before: list[int] = []

        def beside(request: bytes, _: Call) -> bytes:
            before.append(len(it.service.calls))
            return request

        async with pair(engine, routes=[unary(BESIDE, beside)]) as it, AsyncExitStack() as stack:
            await it.channel.unary(BESIDE, b"first")
            clients = [await stack.enter_async_context(raw(it)) for _ in range(floods)]
            for client in clients:
                await greeted(client)
            for client in clients:
                write(client, *(each for stream_id in ids(MANY) for each in call(client, stream_id, path)))
            await it.channel.unary(BESIDE, b"second")
            assert before[1] <= 6 * STARTS + floods
            await eventually(lambda: len(it.service.calls) == floods * MANY)

    run(main())


def test_calls_that_are_reset_before_their_turn_never_begin(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            await greeted(client)
            for path, first in ((HANG.path, 1), (ECHO.path, 101), (ECHO_LATER.path, 201)):
                opened = [
                    each
                    for number in ids(20, first)
                    for each in call(client, number, path)[: 1 if path == HANG.path else 2]
                ]
                resets = [f.RstStreamFrame(number, ErrorCode.CANCEL) for number in ids(20, first)]
                write(client, *opened, *resets)
                await greeted(client)
            assert it.service.calls == []
            assert not it.server._tasks

    run(main())


def test_a_call_whose_time_is_over_before_its_turn_never_begins(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            await greeted(client)
            opened = [client.headers(number) for number in ids(MANY)]
            write(client, *opened, client.headers(2 * MANY + 1, HANG.path, {"grpc-timeout": "1n"}))
            await eventually(lambda: len(it.service.calls) == MANY)
            assert (await client.status())["grpc-status"] == "4"
            assert len(it.service.calls) == MANY

    run(main())


def test_calls_that_wait_for_their_turn_are_told_that_the_server_stops(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            await greeted(client)
            (connection,) = it.server._connections
            write(client, *(client.headers(number, HANG.path) for number in ids(MANY)))
            await it.service.started.wait()
            known = len(connection.streams)
            assert known > len(it.server._tasks) > len(it.service.calls)
            connection.cancel_calls()
            for _ in range(known):
                assert (await client.status())["grpc-message"] == "the server is stopping"

    run(main())


def test_all_calls_of_a_connection_that_is_lost_are_cancelled(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            async with raw(it) as client:
                write(client, *(client.headers(number, HANG.path) for number in ids(MANY)))
                await eventually(lambda: len(it.service.calls) == MANY)
                assert len(it.server._tasks) == MANY
            await eventually(lambda: not it.server._tasks)
            await eventually(lambda: not it.server._connections)
            assert await it.channel.unary(ECHO, b"alive") == b"alive"

    run(main())


def test_resets_do_not_come_back_to_whoever_keeps_the_server_busy(engine: str) -> None:
    """However fast they come back, and however slow the server is."""

    async def main() -> None:
        limits = replace(LOCAL, resets=Rate(100, 1e9))
        async with pair(engine, limits=limits) as it, raw(it) as client:
            await greeted(client)
            for first in (1, 201):
                write(client, *(each for number in ids(100, first) for each in cycle(client, number)))
                await greeted(client)
            write(client, *(each for number in ids(1_000, 401) for each in cycle(client, number)))
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM

    def cycle(client: Raw, stream_id: int) -> tuple[f.Frame, ...]:
        return client.headers(stream_id), f.RstStreamFrame(stream_id, ErrorCode.CANCEL)

    run(main())


def test_no_more_streams_than_allowed_and_never_fewer(engine: str) -> None:
    async def main() -> None:
        async with pair(engine, limits=replace(LOCAL, max_concurrent_streams=20)) as it, raw(it) as client:
            await greeted(client)
            for first in range(1, 2_001, 40):
                opened = [client.headers(number) for number in ids(20, first)]
                resets = [f.RstStreamFrame(number, ErrorCode.CANCEL) for number in ids(20, first)]
                write(client, *opened)
                await eventually(lambda: sum(len(c.streams) for c in it.server._connections) == 20)
                write(client, *resets)
                await greeted(client)
            write(client, *(client.headers(number) for number in ids(21, 2_041)))
            while type(await client.frame(f.Frame)) not in {f.RstStreamFrame, f.GoAwayFrame}:
                assert len(it.service.calls) <= 51 * 20
            assert await it.channel.unary(ECHO, b"alive") == b"alive"

    run(main())


def test_bytes_that_mean_nothing_let_no_more_calls_be_looked_at_in_a_turn(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    take, on_headers = ServerConnection.take, ServerConnection.on_headers

    def noting(connection: ServerConnection, data: bytes) -> None:
        looked.append(0)
        take(connection, data)

    def counting(connection: ServerConnection, stream_id: int, headers: Headers, ended: bool) -> None:
        looked[-1] += 1
        on_headers(connection, stream_id, headers, ended)

    monkeypatch.setattr(ServerConnection, "take", noting)
    monkeypatch.setattr(ServerConnection, "on_headers", counting)
    nothing = (15 * 1024 - 9).to_bytes(3, "big") + b"\xee" + bytes(15 * 1024 - 4)

    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            await greeted(client)
            opened = (client.headers(number, ECHO.path, end=True) for number in ids(3 * MANY))
            client.writer.write(nothing + b"".join(each.serialize() for each in opened))
            for _ in range(3 * MANY):
                assert (await client.status())["grpc-message"] == "this method takes exactly one message"
            assert sum(looked) == 3 * MANY
            assert max(looked) <= MANY // 2

    run(main())


def test_streams_that_have_ended_are_counted_no_more_however_they_did(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        most = 20
        async with pair(engine, limits=replace(LOCAL, max_concurrent_streams=most)) as it, raw(it) as client:
            await greeted(client)
            write(client, *(client.headers(number, HANG.path) for number in ids(most - 1)))
            await eventually(lambda: len(it.service.calls) == most - 1)
            scans: list[None] = []
            monkeypatch.setattr(H2Connection, "_open_streams", lambda *_: scans.append(None))
            for first in range(101, 2_101, 10):
                one, unknown, given_up, refused = ids(4, first)
                write(client, *call(client, one, ECHO.path))
                await client.status()
                await client.status()
                write(client, client.headers(unknown, "/no/such", end=True))
                await client.status()
                cancel = f.RstStreamFrame(given_up, ErrorCode.CANCEL)
                write(
                    client, client.headers(given_up, "/no/such"), cancel, *call(client, refused, "/no/such")
                )
                await client.status()
            assert not scans
            write(client, client.headers(9_001, HANG.path))
            await eventually(lambda: len(it.service.calls) == most + 200)
            monkeypatch.undo()
            write(client, client.headers(9_003, HANG.path))
            while type(await client.frame(f.Frame)) not in {f.RstStreamFrame, f.GoAwayFrame}:
                pass
            assert len(it.service.calls) == most + 200

    run(main())


@pytest.mark.parametrize("later", [False, True])
def test_a_fault_while_input_is_looked_at_ends_the_connection_at_once_or_in_a_later_turn(
    engine: str, later: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_data = ServerConnection.on_data
    fault = ValueError("a fault of ours")

    def broken(connection: ServerConnection, stream_id: int, data: bytes, ended: bool) -> None:
        if b"boom" in data:
            raise fault
        on_data(connection, stream_id, data, ended)

    monkeypatch.setattr(ServerConnection, "on_data", broken)

    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            await greeted(client)
            before = [each for n in ids(MANY if later else 0) for each in call(client, n, ECHO.path)]
            boom = f.DataFrame(9_001, frame(b"boom"), flags=["END_STREAM"])
            write(client, *before, client.headers(9_001, ECHO.path), boom)
            assert await client.ended() is None
            await eventually(lambda: not it.server._connections)
            (record,) = caplog.records
            assert record.name == "finial.rpc"
            assert record.exc_info is not None
            assert record.exc_info[1] is fault
            assert await it.channel.unary(ECHO, b"alive") == b"alive"

    run(main())


@pytest.mark.parametrize("which", [ECHO, ECHO_LATER])
def test_a_lone_call_is_answered_in_one_write(
    engine: str, which: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    write_one = Connection._write

    def noting(connection: Connection, data: bytes) -> None:
        if data and isinstance(connection, ServerConnection):
            writes.append(data)
        write_one(connection, data)

    async def main() -> None:
        async with pair(engine) as it:
            await it.channel.unary(ECHO, b"first")
            del writes[:]
            await it.channel.unary(which, b"alone")
            assert len(writes) == 1

    monkeypatch.setattr(Connection, "_write", noting)
    run(main())


def test_many_calls_at_once_are_all_answered_over_tls(engine: str) -> None:
    async def main() -> None:
        service = Service()
        async with Server(service.routes(), engine=engine) as server:
            address = await server.listen(Tcp("127.0.0.1", 0), tls=server_tls(HOME))
            async with Channel(address, tls=client_tls(HOME), engine=engine) as channel:
                requests = [str(number).encode() * 50 for number in range(2 * MANY)]
                replies = await asyncio.gather(*(channel.unary(ECHO_LATER, each) for each in requests))
                assert replies == requests

    run(main())

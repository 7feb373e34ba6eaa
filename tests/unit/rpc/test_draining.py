"""GOAWAY in both directions: announced ends, and calls in flight that survive them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hyperframe import frame as f

from finial.rpc import LOCAL, Channel, RpcError, Server, StatusCode
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import frame
from finial.rpc.peer import Unix
from support.raw import raw
from support.rpc import (
    CHAT,
    COUNT,
    ECHO,
    ECHO_LATER,
    ENGINES,
    HANG,
    Service,
    eventually,
    pair,
    run,
    socket_path,
)

pytestmark = pytest.mark.parametrize("engine", ENGINES)
QUICK = timedelta(milliseconds=50)


def test_stopping_lets_calls_in_flight_finish(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(CHAT) as call:
            await call.send(b"before")
            assert await call.receive() == b"before"
            stopping = asyncio.create_task(it.server.stop(timedelta(seconds=10)))
            await eventually(lambda: any(c.draining for c in it.channel._connections))
            assert not Path(it.address.path).exists()
            await call.send(b"after")
            assert await call.receive() == b"after"
            await call.half_close()
            assert await call.receive() is None
            await stopping
            with pytest.raises(RpcError, match="cannot connect"):
                await it.channel.unary(ECHO, b"")

    run(main())


def test_stopping_cuts_calls_that_never_end(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(HANG) as call:
            await it.service.started.wait()
            await it.server.stop(QUICK)
            assert it.service.cancelled.is_set()
            with pytest.raises(RpcError, match="the server is stopping") as failed:
                await call.receive()
            assert failed.value.code is StatusCode.UNAVAILABLE

    run(main())


def test_a_call_tells_when_its_connection_is_gone(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(HANG) as call:
            (connection,) = it.channel._connections
            connection.abort()
            await call.leaving
            with pytest.raises(RpcError, match="lost"):
                await call.receive()

    run(main())


def test_stopping_does_not_wait_for_peers_without_calls(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            assert await it.channel.unary(ECHO, b"x") == b"x"
            await it.server.stop(timedelta(seconds=15))
            await eventually(lambda: not it.channel._connections)

    run(main())


def test_an_old_connection_is_drained_and_calls_move_to_a_new_one(engine: str) -> None:
    async def main() -> None:
        limits = replace(LOCAL, max_connection_age=QUICK, drain_notice=timedelta(milliseconds=5))
        async with pair(engine, limits=limits) as it, it.channel.call(CHAT) as call:
            (first,) = it.channel._connections
            assert not call.leaving.done()
            await call.leaving
            assert first.draining
            assert await it.channel.unary(ECHO, b"elsewhere") == b"elsewhere"
            assert len(it.channel._connections) == 2
            await call.send(b"still here")
            assert await call.receive() == b"still here"
            await call.half_close()
            assert await call.receive() is None
            await eventually(lambda: first not in it.channel._connections)

    run(main())


def test_calls_that_outlive_the_age_of_their_connection_are_ended(engine: str) -> None:
    async def main() -> None:
        limits = replace(LOCAL, max_connection_age=QUICK, max_connection_grace=QUICK, drain_notice=QUICK)
        async with pair(engine, limits=limits) as it, it.channel.call(HANG) as call:
            (first,) = it.channel._connections
            with pytest.raises(RpcError, match="the connection is too old") as failed:
                await call.receive()
            assert failed.value.code is StatusCode.UNAVAILABLE
            assert it.service.cancelled.is_set()
            await eventually(lambda: first not in it.channel._connections)
            assert await it.channel.unary(ECHO, b"anew") == b"anew"

    run(main())


def test_a_peer_that_opens_no_window_does_not_outlive_its_age_either(engine: str) -> None:
    async def main() -> None:
        limits = replace(LOCAL, max_connection_age=QUICK, max_connection_grace=QUICK, drain_notice=QUICK)
        async with pair(engine, limits=limits) as it, raw(it, settings={4: 0}) as client:
            for stream_id, request in ((1, frame(b"9:100000")), (3, frame(b"size:100000"))):
                path = (COUNT if stream_id == 1 else ECHO).path
                client.send(client.headers(stream_id, path))
                client.send(f.DataFrame(stream_id, request, flags=["END_STREAM"]))
            await eventually(lambda: any(len(c.streams) == 2 for c in it.server._connections))
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.NO_ERROR
            await eventually(lambda: not it.server._connections and not it.server._tasks)

    run(main())


def test_local_calls_last_as_long_as_they_like(engine: str) -> None:
    async def main() -> None:
        limits = replace(LOCAL, max_connection_age=QUICK, drain_notice=QUICK)
        async with pair(engine, limits=limits) as it, it.channel.call(CHAT) as call:
            (connection,) = it.server._connections
            timer = connection._age_timer
            await eventually(lambda: connection.draining)
            assert connection._age_timer is timer  # nothing more is due
            await call.send(b"still here")
            assert await call.receive() == b"still here"

    run(main())


def test_many_calls_through_many_connection_ages(engine: str) -> None:
    async def main() -> None:
        limits = replace(
            LOCAL, max_connection_age=timedelta(milliseconds=20), drain_notice=timedelta(milliseconds=1)
        )
        async with pair(engine, limits=limits) as it:
            seen = set()
            for _ in range(60):
                replies = await asyncio.gather(*(it.channel.unary(ECHO_LATER, b"x") for _ in range(20)))
                assert replies == [b"x"] * 20
                seen |= it.channel._connections
                turn = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(0.002, turn.set_result, None)
                await turn
            assert len(seen) > 2

    run(main())


def test_ages_are_spread(engine: str) -> None:
    async def main() -> None:
        drawn = iter([0.0, 1.0])
        service = Service()
        limits = replace(LOCAL, max_connection_age=timedelta(hours=1))
        server = Server(service.routes(), engine=engine, limits=limits, jitter=lambda: next(drawn))
        address = await server.listen(socket_path())
        now = asyncio.get_running_loop().time()
        async with Channel(address, engine=engine) as one, Channel(address, engine=engine) as two:
            await one.connect()
            await two.connect()
            timers = [c._age_timer for c in server._connections]
            ages = sorted(timer.when() - now for timer in timers if timer is not None)
            assert ages == pytest.approx([3600 * 0.8, 3600 * 1.2], abs=5)
        await server.stop()

    run(main())


def test_a_server_refuses_connections_beyond_its_bound(engine: str) -> None:
    async def main() -> None:
        async with pair(engine, limits=replace(LOCAL, max_connections=1)) as it:
            assert await it.channel.unary(ECHO, b"x") == b"x"
            async with Channel(Unix(it.address.path), engine=engine) as second:
                with pytest.raises(RpcError) as failed:
                    await second.unary(ECHO, b"x")
                assert failed.value.code is StatusCode.UNAVAILABLE
            assert await it.channel.unary(ECHO, b"x") == b"x"

    run(main())

"""Every kind of call between our own client and server, on both engines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta

import pytest

from finial.rpc import Channel, Limits, MethodKind, RpcError, StatusCode, Unix, unary
from support.rpc import CHAT, COUNT, ECHO, ECHO_LATER, ENGINES, HANG, SUM, eventually, method, pair, run

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def test_unary(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            assert await it.channel.unary(ECHO, b"hello") == b"hello"
            assert await it.channel.unary(ECHO_LATER, b"") == b""
            many = [b"%d" % number for number in range(300)]
            assert await asyncio.gather(*(it.channel.unary(ECHO_LATER, each) for each in many)) == many

    run(main())


def test_server_stream(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(COUNT) as call:
            await call.send(b"500:1000")
            await call.half_close()
            got = [reply async for reply in call]
            assert [int(reply.rstrip(b".")) for reply in got] == list(range(500))
            assert await call.receive() is None

    run(main())


def test_client_stream(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(SUM) as call:
            for _ in range(50):
                await call.send(bytes(20_000))
            await call.half_close()
            assert await call.receive() == b"1000000"
            assert await call.receive() is None

    run(main())


def test_bidi_and_half_close(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(CHAT) as call:
            for size in (0, 1, 100_000, 3):
                await call.send(bytes(size))
                assert await call.receive() == bytes(size)
            await call.half_close()
            await call.half_close()
            assert await call.receive() is None

    run(main())


def test_a_server_may_end_a_bidi_call_first(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            async with it.channel.call(CHAT) as call:
                await call.send(b"bye")
                assert await call.receive() is None
                with pytest.raises(RpcError, match="the call has ended"):
                    await call.send(b"more")
            assert await it.channel.unary(ECHO, b"on") == b"on"
            await eventually(lambda: not any(c.streams for c in it.server._connections))

    run(main())


def test_large_messages_need_a_raised_limit(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            with pytest.raises(RpcError, match="exceeds the limit") as refused:
                await it.channel.unary(ECHO, b"size:5000000")
            assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED
            with pytest.raises(RpcError, match="exceeds the limit") as refused:
                await it.channel.unary(ECHO, bytes(5_000_000))
            assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED
            assert await it.channel.unary(ECHO, b"on") == b"on"
        async with pair(engine, limits=Limits(max_receive_bytes=30_000_000)) as it:
            big = bytes(20_971_520)
            assert await it.channel.unary(ECHO, b"size:20971520") == big
            assert await it.channel.unary(ECHO, big) == big

    run(main())


def test_errors_carry_code_text_and_details(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            with pytest.raises(RpcError) as failed:
                await it.channel.unary(ECHO, "fail:7:nein, 100 % ü".encode())
            assert failed.value.code is StatusCode.PERMISSION_DENIED
            assert failed.value.message == "nein, 100 % ü"
            assert failed.value.details == b"\x08\x07"

    run(main())


def test_errors_may_ask_for_a_pause(engine: str) -> None:
    busy = method("Busy", MethodKind.UNARY)

    def refuse(request: bytes, call: object) -> bytes:
        pause = timedelta(seconds=float(request)) if request else None
        raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after=pause)

    async def main() -> None:
        async with pair(engine, routes=[unary(busy, refuse)]) as it:
            for asked, told in ((b"2.5", timedelta(seconds=2.5)), (b"-3", timedelta(0)), (b"", None)):
                with pytest.raises(RpcError) as failed:
                    await it.channel.unary(busy, asked)
                assert failed.value.retry_after == told

    run(main())


def test_a_handler_that_breaks_tells_the_log_and_not_the_caller(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            with pytest.raises(RpcError) as failed:
                await it.channel.unary(ECHO_LATER, b"boom")
            assert failed.value.code is StatusCode.INTERNAL
            assert failed.value.message == "internal error"

    with caplog.at_level(logging.ERROR, logger="finial.rpc"):
        run(main())
    assert "EchoLater failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_endless_text_does_not_hide_the_status(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            with pytest.raises(RpcError) as failed:
                await it.channel.unary(ECHO, b"fail:5:" + "€".encode() * 9_000)
            assert failed.value.code is StatusCode.NOT_FOUND
            assert failed.value.message == "€" * 1_000

    run(main())


def test_a_function_around_a_coroutine_is_a_handler_too(engine: str) -> None:
    wrapped = method("Wrapped", MethodKind.UNARY)

    async def later(request: bytes) -> bytes:
        return request + b"!"

    async def main() -> None:
        async with pair(engine, routes=[unary(wrapped, lambda request, _: later(request))]) as it:
            assert await it.channel.unary(wrapped, b"x") == b"x!"

    run(main())


def test_metadata_travels_both_ways(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            async with it.channel.call(ECHO, metadata=[("some-bin", b"\x00\x01"), ("x", "y")]) as call:
                await call.send(b"metadata")
                await call.half_close()
                assert await call.receive() == b"metadata"
                assert await call.receive() is None
                assert call.initial_metadata == (("first", "1"),)
                assert call.trailing_metadata == (("seen-bin", b"\x00\x01"), ("last", "2"))
            assert it.service.calls[0].method.name == "Echo"

    run(main())


def test_unknown_names_are_told_apart(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            with pytest.raises(RpcError, match="unknown method Nope for service finial.test.Bytes") as failed:
                await it.channel.unary(method("Nope", MethodKind.UNARY), b"")
            assert failed.value.code is StatusCode.UNIMPLEMENTED
            other = type(ECHO)("other.Service", "Echo", MethodKind.UNARY, bytes, bytes, bytes, bytes)
            with pytest.raises(RpcError, match="unknown service other.Service"):
                await it.channel.unary(other, b"")

    run(main())


def test_a_passed_deadline_ends_the_call_on_both_sides(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            with pytest.raises(RpcError) as failed:
                await it.channel.unary(ECHO_LATER, b"hang", timeout=timedelta(milliseconds=50))
            assert failed.value.code is StatusCode.DEADLINE_EXCEEDED
            await it.service.cancelled.wait()
            assert it.service.calls[0].deadline is not None

    run(main())


def test_the_server_watches_the_deadline_itself(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(HANG, metadata=[]) as call:
            call.cancel()
            # A caller that sends a deadline and then does not watch it.
            headers = [
                (b":method", b"POST"), (b":scheme", b"http"), (b":path", HANG.path.encode()),
                (b":authority", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
                (b"grpc-timeout", b"20m"),
            ]  # fmt: skip
            (connection,) = it.channel._connections
            lazy = type(call)(connection, HANG)
            lazy.open(headers, None)
            with pytest.raises(RpcError) as failed:
                await lazy.receive()
            assert failed.value.code is StatusCode.DEADLINE_EXCEEDED
            await it.service.cancelled.wait()

    run(main())


def test_cancelling_reaches_the_handler(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            async with it.channel.call(HANG):
                await it.service.started.wait()
            await it.service.cancelled.wait()
            await eventually(lambda: not it.server._tasks)
            with pytest.raises(RpcError, match="cancelled"):
                await it.service.calls[0].send(b"late")

    run(main())


def test_cancelling_the_callers_task_cancels_the_call(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            task = asyncio.create_task(it.channel.unary(ECHO_LATER, b"hang"))
            await it.service.started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await it.service.cancelled.wait()

    run(main())


def test_losing_the_connection_ends_calls_on_both_sides(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            task = asyncio.create_task(it.channel.unary(ECHO_LATER, b"hang"))
            await it.service.started.wait()
            for connection in list(it.channel._connections):
                connection.abort()
            with pytest.raises(RpcError) as failed:
                await task
            assert failed.value.code is StatusCode.UNAVAILABLE
            await it.service.cancelled.wait()
            assert await it.channel.unary(ECHO, b"again") == b"again"

    run(main())


def test_a_unary_method_takes_exactly_one_message(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            for count in (0, 2):
                async with it.channel.call(ECHO) as call:
                    for _ in range(count):
                        await call.send(b"x")
                    await call.half_close()
                    with pytest.raises(RpcError, match="exactly one message"):
                        await call.receive()

    run(main())


def test_thousands_of_calls_opened_and_cancelled_on_one_local_connection(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            for _ in range(100):
                calls = [it.channel.call(HANG) for _ in range(50)]
                opened = [await call.__aenter__() for call in calls]
                for call in opened:
                    call.cancel()
                for context in calls:
                    await context.__aexit__(None, None, None)
            assert await it.channel.unary(ECHO, b"alive") == b"alive"
            await eventually(lambda: not it.server._tasks)

    run(main())


def test_more_calls_than_the_server_lets_in_wait_their_turn(engine: str) -> None:
    async def main() -> None:
        async with pair(engine, limits=Limits(max_concurrent_streams=3)) as it:
            many = [b"%d" % number for number in range(50)]
            assert await asyncio.gather(*(it.channel.unary(ECHO_LATER, each) for each in many)) == many
            async with it.channel.call(HANG), it.channel.call(HANG), it.channel.call(HANG):
                waiting = asyncio.create_task(
                    it.channel.unary(ECHO, b"x", timeout=timedelta(milliseconds=30))
                )
                with pytest.raises(RpcError) as failed:
                    await waiting
                assert failed.value.code is StatusCode.DEADLINE_EXCEEDED
            assert await it.channel.unary(ECHO, b"room") == b"room"

    run(main())


def test_a_server_that_is_not_there(engine: str) -> None:
    async def main() -> None:
        channel = Channel(Unix("/nonexistent/socket"), engine=engine)
        with pytest.raises(
            RpcError, match="cannot connect to unix:/nonexistent/socket: No such file"
        ) as failed:
            await channel.unary(ECHO, b"")
        assert failed.value.code is StatusCode.UNAVAILABLE
        await channel.close()
        with pytest.raises(RpcError, match="the channel is closed"):
            await channel.unary(ECHO, b"")

    run(main())


def test_closing_a_channel_ends_its_calls(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            task = asyncio.create_task(it.channel.unary(ECHO_LATER, b"hang"))
            await it.service.started.wait()
            await it.channel.close()
            with pytest.raises(RpcError, match="the channel was closed"):
                await task

    run(main())


def test_two_tasks_must_not_receive_from_one_call(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(HANG) as call:
            first = asyncio.create_task(call.receive())
            await it.service.started.wait()
            with pytest.raises(RuntimeError, match="another task"):
                await call.receive()
            first.cancel()

    run(main())


def test_messages_that_do_not_decode(engine: str) -> None:
    def refuse(_: bytes) -> bytes:
        raise ValueError("no such message")

    odd_request = type(ECHO)("odd.Service", "Request", MethodKind.UNARY, bytes, refuse, bytes, bytes)
    odd_reply = type(ECHO)("odd.Service", "Reply", MethodKind.UNARY, bytes, bytes, bytes, refuse)

    async def main() -> None:
        routes = [unary(odd_request, lambda r, _: r), unary(odd_reply, lambda r, _: r)]
        async with pair(engine, routes=routes) as it:
            with pytest.raises(RpcError, match="the request is malformed: no such message"):
                await it.channel.unary(odd_request, b"x")
            with pytest.raises(RpcError, match="the reply is malformed: no such message"):
                await it.channel.unary(odd_reply, b"x")

    run(main())


def test_slow_readers_hold_up_nobody_else_on_their_connection(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, contextlib.AsyncExitStack() as stack:
            slow = [await stack.enter_async_context(it.channel.call(COUNT)) for _ in range(40)]
            for call in slow:
                await call.send(b"20:65536")
                await call.half_close()
            for number in range(30):
                assert await it.channel.unary(ECHO, b"%d" % number) == b"%d" % number
            for call in slow:
                assert len([reply async for reply in call]) == 20

    run(main())


def test_what_nobody_read_costs_the_connection_no_room(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it:
            for _ in range(60):
                async with it.channel.call(HANG) as call:
                    await call.send(bytes(60_000))
                    await call.send(bytes(60_000))
                    await it.channel.unary(ECHO, b"in between")
            assert await it.channel.unary(ECHO, bytes(2_000_000)) == bytes(2_000_000)

    run(main())

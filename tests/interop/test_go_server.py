"""Our client calls a grpc-go server."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from finial.rpc import Channel, ClientCall, Limits, Method, MethodKind, RpcError, StatusCode
from support.interop_service import (
    BIDI,
    CLIENT_STREAM,
    SERVER_STREAM,
    UNARY,
    lines,
    method,
    pattern,
    status_bytes,
)
from support.interop_world import WAIT, World, case

MIB = 1 << 20
ROOMY = replace(Limits(), max_receive_bytes=32 * MIB)

Call = ClientCall[bytes, bytes]


async def unary(channel: Channel, steps: bytes) -> bytes:
    return await channel.unary(UNARY, steps, timeout=WAIT)


async def ask(call: Call, steps: bytes) -> None:
    """Send the one request of a call; grpc-go waits for the half-close before it serves it."""
    await call.send(steps)
    await call.half_close()


async def replies(call: Call) -> list[bytes]:
    return [reply async for reply in call]


async def failure(call: Call) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await replies(call)
    return caught.value


@case
async def test_calls_of_every_kind_are_answered(world: World) -> None:
    channel, _ = await world.ours_to_go()
    assert await unary(channel, "echo:plain ✓".encode()) == "plain ✓".encode()
    assert await unary(channel, b"") == b""

    async with channel.call(SERVER_STREAM, timeout=WAIT) as call:
        await ask(call, b"count:100")
        assert await replies(call) == [str(number).encode() for number in range(100)]

    async with channel.call(CLIENT_STREAM, timeout=WAIT) as call:
        for steps in (b"echo:abc", b"count:2:1000", b"echo:"):
            await call.send(steps)
        await call.half_close()
        assert await replies(call) == [b"4,2003"]

    async with channel.call(BIDI, timeout=WAIT) as call:
        for number in range(20):
            await call.send(b"echo:%d" % number)
            assert await call.receive() == b"%d" % number
        await call.half_close()
        assert await call.receive() is None


@case
async def test_a_half_close_ends_the_requests_and_not_the_replies(world: World) -> None:
    channel, _ = await world.ours_to_go()
    async with channel.call(BIDI, timeout=WAIT) as call:
        await call.send(b"count:50:20000")
        await call.half_close()
        assert await replies(call) == [pattern(20_000)] * 50


@case
async def test_compressed_replies_are_read(world: World) -> None:
    channel, _ = await world.ours_to_go()
    metadata = [("x-reply-encoding", "gzip")]
    assert await channel.unary(UNARY, b"size:300000", timeout=WAIT, metadata=metadata) == pattern(300_000)
    async with channel.call(SERVER_STREAM, timeout=WAIT, metadata=metadata) as call:
        await ask(call, b"count:3:70000;size:0;size:1")
        assert await replies(call) == [pattern(70_000)] * 3 + [b"", pattern(1)]


@case
async def test_twenty_mebibytes_pass_in_both_directions_where_limits_allow(world: World) -> None:
    channel, _ = await world.ours_to_go("-max-receive", str(32 * MIB), limits=ROOMY)
    assert await unary(channel, b"size:%d" % (20 * MIB)) == pattern(20 * MIB)
    assert await unary(channel, b"echo:" + pattern(20 * MIB)) == pattern(20 * MIB)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@case
async def test_a_reply_over_the_limit_is_refused_and_the_connection_goes_on(
    world: World, encoding: str
) -> None:
    channel, _ = await world.ours_to_go()
    async with channel.call(BIDI, timeout=WAIT) as witness:
        with pytest.raises(RpcError) as caught:
            await channel.unary(
                UNARY, b"size:%d" % (5 * MIB), timeout=WAIT, metadata=[("x-reply-encoding", encoding)]
            )
        assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
        await witness.send(b"echo:still here;")
        assert await witness.receive() == b"still here;"


@case
async def test_a_request_over_the_servers_limit_fails_only_that_call(world: World) -> None:
    channel, _ = await world.ours_to_go()
    with pytest.raises(RpcError) as caught:
        await unary(channel, b"echo:" + pattern(5 * MIB))
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
    assert await unary(channel, b"echo:on") == b"on"


@case
async def test_a_deadline_ends_the_call_here_and_the_handler_there(world: World) -> None:
    channel, _ = await world.ours_to_go()
    with pytest.raises(RpcError) as caught:
        await channel.unary(UNARY, b"hang:late", timeout=timedelta(milliseconds=300))
    assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
    assert await unary(channel, b"fate:late") == b"ended"
    async with channel.call(BIDI, timeout=timedelta(milliseconds=300)) as call:
        await call.send(b"hang:later")
        assert (await failure(call)).code is StatusCode.DEADLINE_EXCEEDED
    assert await unary(channel, b"fate:later") == b"ended"


@pytest.mark.parametrize("kind", [SERVER_STREAM, CLIENT_STREAM, BIDI], ids=lambda kind: kind.name)
@case
async def test_leaving_the_block_cancels_the_handler(world: World, kind: Method[bytes, bytes]) -> None:
    channel, _ = await world.ours_to_go()
    async with channel.call(kind) as call:
        await call.send(b"hang:alone")
        if kind is SERVER_STREAM:
            await call.half_close()
        await unary(channel, b"started:alone")
    assert await unary(channel, b"fate:alone") == b"ended"


@case
async def test_cancelling_the_task_of_a_unary_call_cancels_the_handler(world: World) -> None:
    channel, _ = await world.ours_to_go()
    task = asyncio.get_running_loop().create_task(channel.unary(UNARY, b"hang:task"))
    await unary(channel, b"started:task")
    task.cancel()
    assert await unary(channel, b"fate:task") == b"ended"
    with pytest.raises(asyncio.CancelledError):
        await task


@case
async def test_a_slow_reader_holds_up_the_server_and_nobody_else(world: World) -> None:
    channel, _ = await world.ours_to_go()
    async with channel.call(SERVER_STREAM) as slow:
        await ask(slow, b"count:100:65536")
        for number in range(30):
            assert await unary(channel, b"echo:%d" % number) == b"%d" % number
        # Our window, our read-ahead and grpc-go's own write quota of 64 KiB.
        assert int(await unary(channel, b"progress")) <= 6
        assert await replies(slow) == [pattern(65_536)] * 100


@case
async def test_many_slow_readers_leave_room_on_the_connection(world: World) -> None:
    channel, _ = await world.ours_to_go()
    slow = [await world.stack.enter_async_context(channel.call(SERVER_STREAM)) for _ in range(40)]
    for call in slow:
        await ask(call, b"count:20:65536")
    for number in range(30):
        assert await unary(channel, b"echo:%d" % number) == b"%d" % number
    for call in slow:
        assert await replies(call) == [pattern(65_536)] * 20


@case
async def test_a_slow_server_holds_up_the_sender(world: World) -> None:
    channel, _ = await world.ours_to_go("-window", "65536")
    sent = 0

    async def send(call: Call) -> None:
        nonlocal sent
        while True:
            await call.send(b"echo:" + pattern(65_536))
            sent += 1

    async with channel.call(BIDI) as call:
        await call.send(b"hang:full")
        await unary(channel, b"started:full")
        sender = asyncio.get_running_loop().create_task(send(call))
        for number in range(30):
            assert await channel.unary(UNARY, b"echo:%d" % number, timeout=WAIT) == b"%d" % number
        assert sent <= 4
        sender.cancel()
        await asyncio.wait([sender])
    assert await unary(channel, b"fate:full") == b"ended"


@case
async def test_many_calls_run_at_once(world: World) -> None:
    channel, _ = await world.ours_to_go()
    texts = [b"call %d" % number for number in range(1000)]
    answers = await asyncio.gather(*(unary(channel, b"echo:" + text) for text in texts))
    assert answers == texts


@pytest.mark.parametrize("transport", ["unix"])
@case
async def test_five_thousand_opened_and_cancelled_streams_are_survived(world: World) -> None:
    channel, _ = await world.ours_to_go()
    for _ in range(5000):
        async with channel.call(BIDI):
            pass
    assert await unary(channel, b"connections") == b"1"


@case
async def test_a_graceful_stop_lets_calls_end_and_sends_new_ones_elsewhere(world: World) -> None:
    first, address = await world.go_server("-name", "first")
    channel = await world.channel(address)
    async with channel.call(BIDI, timeout=WAIT) as old:
        await old.send(b"name")
        assert await old.receive() == b"first"
        await first.order("drain")
        await world.go_server("-name", "second", at=address)
        name = b"first"
        while name != b"second":
            name = await unary(channel, b"name")
        await old.send(b"name")
        assert await old.receive() == b"first"
        await old.half_close()
        assert await old.receive() is None
    await first.order("drained")


@case
async def test_connections_that_grow_old_are_replaced_unnoticed(world: World) -> None:
    channel, _ = await world.ours_to_go("-max-age", "150ms")
    async with channel.call(BIDI, timeout=WAIT) as old:
        await old.send(b"echo:1")
        assert await old.receive() == b"1"
        tally = Counter[bytes]()
        while len(tally) < 4:
            tally.update(await asyncio.gather(*(unary(channel, b"connections") for _ in range(20))))
        await old.send(b"echo:2")
        assert await old.receive() == b"2"


@case
async def test_a_handler_may_return_before_we_have_finished(world: World) -> None:
    channel, _ = await world.ours_to_go()
    async with channel.call(BIDI, timeout=WAIT) as call:
        await call.send(b"count:2;return")
        # grpc-go follows its trailers with RST_STREAM NO_ERROR; the result counts, not the reset.
        assert await replies(call) == [b"0", b"1"]
    async with channel.call(CLIENT_STREAM, timeout=WAIT) as call:
        await call.send(b"count:1;return")
        assert await replies(call) == [b"1,1"]
    async with channel.call(BIDI, timeout=WAIT) as call:
        await call.send(b"fail:9:early")
        assert str(await failure(call)) == "FAILED_PRECONDITION: early"
        with pytest.raises(RpcError) as caught:
            await call.send(b"echo:too late")
        assert caught.value.code is StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("message", ["plain", "grüße, 100 %", "鍵\n\x7f", ""])
@case
async def test_errors_arrive_before_and_after_messages(world: World, message: str) -> None:
    channel, _ = await world.ours_to_go()
    with pytest.raises(RpcError) as caught:
        await unary(channel, f"fail:7:{message}".encode())
    assert (caught.value.code, caught.value.message) == (StatusCode.PERMISSION_DENIED, message)
    async with channel.call(SERVER_STREAM, timeout=WAIT) as call:
        await ask(call, f"count:2;fail:9:{message}".encode())
        assert [await call.receive(), await call.receive()] == [b"0", b"1"]
        error = await failure(call)
    assert (error.code, error.message) == (StatusCode.FAILED_PRECONDITION, message)


@case
async def test_status_details_arrive(world: World) -> None:
    channel, _ = await world.ours_to_go()
    with pytest.raises(RpcError) as caught:
        await unary(channel, b"details:5:gone")
    assert caught.value.code is StatusCode.NOT_FOUND
    assert caught.value.details == status_bytes(5, "gone")


@case
async def test_metadata_passes_in_both_directions(world: World) -> None:
    channel, _ = await world.ours_to_go()
    sent: list[tuple[str, str | bytes]] = [
        ("x-text", "a value"),
        ("x-raw-bin", b"\x00\xfe\xff"),
        ("x-reply-metadata", "1"),
    ]
    async with channel.call(SERVER_STREAM, timeout=WAIT, metadata=sent) as call:
        await ask(call, b"metadata")
        assert await replies(call) == ["\n".join(lines(sent)).encode()]
        assert lines(call.initial_metadata or ()) == ["x-initial-bin=AP8=", "x-initial=first"]
        assert lines(call.trailing_metadata or ()) == ["x-trailing-bin=Af4=", "x-trailing=last"]


@pytest.mark.parametrize(
    "absent",
    [method("Nothing", MethodKind.UNARY), method("Unary", MethodKind.UNARY, "no.such.Service")],
    ids=["method", "service"],
)
@case
async def test_what_is_not_served_is_unimplemented(world: World, absent: Method[bytes, bytes]) -> None:
    channel, _ = await world.ours_to_go()
    with pytest.raises(RpcError) as caught:
        await channel.unary(absent, b"", timeout=WAIT)
    assert caught.value.code is StatusCode.UNIMPLEMENTED
    assert await unary(channel, b"echo:on") == b"on"


@case
async def test_a_server_that_dies_fails_its_calls_and_a_new_one_is_found(world: World) -> None:
    first, address = await world.go_server("-name", "first")
    channel = await world.channel(address)
    async with channel.call(BIDI, timeout=WAIT) as call:
        await call.send(b"name")
        assert await call.receive() == b"first"
        await first.order("stop")
        assert (await failure(call)).code is StatusCode.UNAVAILABLE
    await world.go_server("-name", "second", at=address)
    assert await unary(channel, b"name") == b"second"

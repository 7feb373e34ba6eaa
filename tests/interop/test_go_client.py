"""A grpc-go client calls our server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from finial.rpc import LOCAL, Limits
from support.interop_process import Answer, PeerProcess
from support.interop_service import pattern, status_bytes
from support.interop_world import World, case

MIB = 1 << 20


async def unary(client: PeerProcess, steps: str, *, method: str = "Unary", **fields: object) -> Answer:
    return await client.order("unary", conn="main", method=method, steps=steps, **fields)


async def open_call(client: PeerProcess, name: str, method: str, *steps: str, **fields: object) -> None:
    await client.order("open", conn="main", call=name, method=method, **fields)
    for step in steps:
        await client.order("send", call=name, steps=step)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@case
async def test_unary_handlers_of_both_forms_answer(world: World) -> None:
    client, _ = await world.go_to_ours()
    assert (await unary(client, "echo:plain ✓", method="Plain"))["text"] == "plain ✓"
    refused = await unary(client, "fail:3:no", method="Plain")
    assert (refused["code"], refused["message"]) == (3, "no")
    assert (await unary(client, "count:3"))["text"] == "2"
    assert (await unary(client, ""))["size"] == 0


@case
async def test_streams_of_every_kind_are_served(world: World) -> None:
    client, _ = await world.go_to_ours()
    await open_call(client, "down", "ServerStream", "count:100")
    await client.order("half_close", call="down")
    last = await client.order("receive", call="down", count=200)
    assert (last["received"], last["text"], last["code"]) == (100, "99", 0)

    await open_call(client, "up", "ClientStream", "echo:abc", "count:2:1000", "echo:")
    await client.order("half_close", call="up")
    assert (await client.order("receive", call="up"))["text"] == "4,2003"

    await open_call(client, "both", "Bidi")
    for number in range(20):
        await client.order("send", call="both", steps=f"echo:{number}")
        assert (await client.order("receive", call="both"))["text"] == str(number)


@case
async def test_a_half_close_ends_the_requests_and_not_the_replies(world: World) -> None:
    client, _ = await world.go_to_ours()
    await open_call(client, "both", "Bidi", "count:50:20000")
    await client.order("half_close", call="both")
    last = await client.order("receive", call="both", count=60)
    assert (last["received"], last["code"], last["sha256"]) == (50, 0, digest(pattern(20_000)))


@case
async def test_compressed_requests_are_read(world: World) -> None:
    client, _ = await world.go_to_ours()
    reply = await unary(client, "echo:", pad=300_000, gzip=True)
    assert reply["sha256"] == digest(pattern(300_000))
    await open_call(client, "both", "Bidi", gzip=True)
    for pad in (0, 1, 70_000):
        await client.order("send", call="both", steps="echo:", pad=pad)
        assert (await client.order("receive", call="both"))["sha256"] == digest(pattern(pad))


@case
async def test_twenty_mebibytes_pass_in_both_directions_where_limits_allow(world: World) -> None:
    limits = replace(Limits(), max_receive_bytes=32 * MIB)
    client, _ = await world.go_to_ours(limits=limits, limit=32 * MIB)
    assert (await unary(client, f"size:{20 * MIB}"))["sha256"] == digest(pattern(20 * MIB))
    assert (await unary(client, "echo:", pad=20 * MIB))["sha256"] == digest(pattern(20 * MIB))


@case
async def test_a_request_over_the_limit_is_refused_and_the_connection_goes_on(world: World) -> None:
    client, _ = await world.go_to_ours()
    await open_call(client, "both", "Bidi", "count:1")
    await client.order("receive", call="both")
    assert (await unary(client, "echo:", pad=5 * MIB))["code"] == 8
    # Small on the wire: what counts is the size after decompression.
    assert (await unary(client, "echo:", pad=5 * MIB, gzip=True))["code"] == 8
    await client.order("send", call="both", steps="echo:still here")
    assert (await client.order("receive", call="both"))["text"] == "still here"


@case
async def test_a_reply_over_the_clients_limit_fails_only_that_call(world: World) -> None:
    client, _ = await world.go_to_ours(limit=MIB)
    assert (await unary(client, f"size:{2 * MIB}"))["code"] == 8
    assert (await unary(client, "echo:on"))["text"] == "on"


@pytest.mark.parametrize("method", ["Unary", "ServerStream", "Bidi"])
@case
async def test_a_deadline_cancels_the_handler(world: World, method: str) -> None:
    client, _ = await world.go_to_ours()
    if method == "Unary":
        ended = await unary(client, "hang:late", timeout_ms=300)
    else:
        await open_call(client, "late", method, "hang:late", timeout_ms=300)
        ended = await client.order("receive", call="late")
    assert ended["code"] == 4
    assert (await unary(client, "fate:late"))["text"] == "ended"


@pytest.mark.parametrize("method", ["ServerStream", "ClientStream", "Bidi"])
@case
async def test_a_cancelled_call_cancels_the_handler(world: World, method: str) -> None:
    client, _ = await world.go_to_ours()
    await open_call(client, "given up", method, "hang:alone")
    await unary(client, "started:alone")
    await client.order("cancel", call="given up")
    assert (await client.order("receive", call="given up"))["code"] == 1
    assert (await unary(client, "fate:alone"))["text"] == "ended"


@case
async def test_a_lost_connection_cancels_the_handlers(world: World) -> None:
    client, server = await world.go_to_ours()
    await open_call(client, "orphan", "Bidi", "hang:orphan")
    await unary(client, "started:orphan")
    await client.order("close", conn="main")
    async with asyncio.timeout(10):
        await server.service.ended["orphan"].wait()


@case
async def test_slow_readers_hold_up_only_themselves(world: World) -> None:
    client, server = await world.go_to_ours(window=65_536)
    for name in ("a", "b", "c"):
        await open_call(client, name, "ServerStream", "count:100:65536")
    for number in range(30):
        assert (await unary(client, f"echo:{number}"))["text"] == str(number)
    # A window of one message, one that waits in the engine, one in the handler's hand.
    assert server.service.progress <= 3 * 3
    for name in ("a", "b", "c"):
        last = await client.order("receive", call=name, count=101)
        assert (last["received"], last["code"]) == (100, 0)
        assert last["sha256"] == digest(pattern(65_536))


@case
async def test_many_calls_run_at_once(world: World) -> None:
    client, _ = await world.go_to_ours()
    answer = await client.order("burst", conn="main", method="Unary", count=2000, workers=200)
    assert answer["codes"] == {"OK": 2000}, answer["last"]


@case
async def test_a_client_that_measures_the_connection_with_pings_is_no_flood(world: World) -> None:
    client, _ = await world.go_to_ours()
    await open_call(client, "witness", "Bidi")
    # grpc-go sends a PING after received data whenever its last one has been answered: thousands a second.
    answer = await client.order("burst", conn="main", method="Plain", count=6000, workers=2)
    assert answer["codes"] == {"OK": 6000}, answer["last"]
    await client.order("send", call="witness", steps="echo:here")
    assert (await client.order("receive", call="witness"))["text"] == "here"


@pytest.mark.parametrize("transport", ["unix"])
@pytest.mark.parametrize("kind", ["heard", "unheard"])
@case
async def test_five_thousand_opened_and_cancelled_streams_are_survived(world: World, kind: str) -> None:
    client, _ = await world.go_to_ours()
    await open_call(client, "witness", "Bidi")
    await client.order("churn", conn="main", kind=kind, count=5000, workers=4)
    # The stream that was opened first is still there, so it was one connection all along.
    await client.order("send", call="witness", steps="echo:here")
    assert (await client.order("receive", call="witness"))["text"] == "here"


@case
async def test_a_graceful_stop_lets_calls_end_and_sends_new_ones_elsewhere(world: World) -> None:
    client, first = await world.go_to_ours()
    await open_call(client, "old", "Bidi", "name")
    assert (await client.order("receive", call="old"))["text"] == "finial"
    stopping = asyncio.get_running_loop().create_task(first.server.stop())
    await client.order("send", call="old", steps="echo:1")  # a round trip: the listener is closed by now
    assert (await client.order("receive", call="old"))["text"] == "1"
    await world.our_server(name="second", at=first.address)
    name = "finial"
    while name != "second":
        answer = await unary(client, "name")
        assert answer["code"] == 0, answer["message"]
        name = answer["text"]
    await client.order("send", call="old", steps="name")
    assert (await client.order("receive", call="old"))["text"] == "finial"
    await client.order("half_close", call="old")
    assert (await client.order("receive", call="old"))["code"] == 0
    async with asyncio.timeout(5):
        await stopping


@case
async def test_connections_that_grow_old_are_replaced_unnoticed(world: World) -> None:
    base = LOCAL if world.transport == "unix" else Limits()
    limits = replace(base, max_connection_age=timedelta(milliseconds=150))
    client, _ = await world.go_to_ours(limits=limits)
    await open_call(client, "old", "Bidi", "echo:1")
    await client.order("receive", call="old")
    burst = await client.order("burst", conn="main", method="Unary", count=4000, workers=4)
    assert burst["codes"] == {"OK": 4000}, burst["last"]
    await client.order("send", call="old", steps="echo:2")
    assert (await client.order("receive", call="old"))["text"] == "2"


@case
async def test_a_handler_may_return_before_the_client_has_finished(world: World) -> None:
    client, _ = await world.go_to_ours()
    await open_call(client, "both", "Bidi", "count:2;return")
    last = await client.order("receive", call="both", count=3)
    assert (last["received"], last["text"], last["code"]) == (2, "1", 0)
    await open_call(client, "up", "ClientStream", "echo:a;", "return")
    assert (await client.order("receive", call="up"))["text"] == "1,2"


@pytest.mark.parametrize("message", ["plain", "grüße, 100 %", "鍵\n\x7f", ""])
@case
async def test_errors_arrive_before_and_after_messages(world: World, message: str) -> None:
    client, _ = await world.go_to_ours()
    early = await unary(client, f"fail:7:{message}")
    assert (early["code"], early["message"]) == (7, message)
    await open_call(client, "down", "ServerStream", f"count:2;fail:9:{message}")
    late = await client.order("receive", call="down", count=3)
    assert (late["received"], late["code"], late["message"]) == (2, 9, message)


@case
async def test_status_details_arrive(world: World) -> None:
    client, _ = await world.go_to_ours()
    answer = await unary(client, "details:5:gone")
    assert (answer["code"], answer["message"]) == (5, "gone")
    assert base64.b64decode(answer["details"]) == status_bytes(5, "gone")


@case
async def test_metadata_passes_in_both_directions(world: World) -> None:
    client, _ = await world.go_to_ours()
    binary = base64.b64encode(b"\x00\xfe\xff").decode()
    sent = {"x-text": "a value", "x-raw-bin": binary, "x-reply-metadata": "1"}
    answer = await unary(client, "metadata", metadata=sent)
    assert answer["text"].splitlines() == [f"x-raw-bin={binary}", "x-reply-metadata=1", "x-text=a value"]
    assert answer["header"] == ["x-initial-bin=AP8=", "x-initial=first"]
    assert answer["trailer"] == ["x-trailing-bin=Af4=", "x-trailing=last"]
    await open_call(client, "down", "ServerStream", "count:1;fail:5:x", metadata=sent)
    assert (await client.order("header", call="down"))["header"] == answer["header"]
    last = await client.order("receive", call="down", count=2)
    assert (last["code"], last["trailer"]) == (5, answer["trailer"])


@pytest.mark.parametrize("path", ["/finial.test.Peer/Nothing", "/no.such.Service/Unary", "/finial.test.Peer"])
@case
async def test_what_is_not_served_is_unimplemented(world: World, path: str) -> None:
    client, _ = await world.go_to_ours()
    assert (await client.order("unary", conn="main", method=path))["code"] == 12
    assert (await unary(client, "echo:on"))["text"] == "on"

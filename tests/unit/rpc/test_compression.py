"""Compressed messages: inflated when a call takes them, and not before."""

from __future__ import annotations

import asyncio

import pytest
from hyperframe import frame as f

from finial.rpc import MethodKind, Route, RpcError, StatusCode, bidi, framing, guarded
from finial.rpc.framing import frame
from support.raw import Raw, compressed, raw
from support.rpc import CHAT, ECHO, ENGINES, SUM, Call, method, pair, run

pytestmark = pytest.mark.parametrize("engine", ENGINES)

GUARDED = method("Guarded", MethodKind.UNARY)
DOOR = method("Door", MethodKind.BIDI)
GZIP = {"grpc-encoding": "gzip"}
BOMB = compressed(bytes(50_000_000))
NOT_GZIP = b"\x01\x00\x00\x00\x03abc"


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What has been inflated."""
    done: list[bytes] = []
    inflate = framing.inflate

    def noting(data: bytes, most: int, path: bytes) -> bytes:
        done.append(data)
        return inflate(data, most, path)

    monkeypatch.setattr(framing, "inflate", noting)
    return done


async def turn_away(call: Call) -> bytes:
    raise RpcError(StatusCode.PERMISSION_DENIED, "not you")


async def stay_out(call: Call) -> None:
    await turn_away(call)


async def let_in(call: Call) -> bytes:
    request = call.request()
    with pytest.raises(RpcError, match="the call has ended"):
        call.request()
    return request.upper()


def send(client: Raw, path: str, *messages: bytes) -> None:
    client.send(client.headers(1, path, GZIP))
    body = b"".join(messages)
    pieces = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
    client.send(*(f.DataFrame(1, piece) for piece in pieces), f.DataFrame(1, b"", flags=["END_STREAM"]))


@pytest.mark.parametrize("route", [guarded(GUARDED, turn_away), bidi(DOOR, stay_out)])
def test_a_caller_that_is_turned_away_has_nothing_inflated(
    engine: str, route: Route, inflated: list[bytes]
) -> None:
    async def main() -> None:
        async with pair(engine, routes=[route]) as it, raw(it) as client:
            send(client, route.method.path, BOMB)
            assert (await client.status())["grpc-message"] == "not you"

    run(main())
    assert inflated == []


def test_a_guard_takes_the_request_once(engine: str, inflated: list[bytes]) -> None:
    async def main() -> None:
        async with pair(engine, routes=[guarded(GUARDED, let_in)]) as it, raw(it) as client:
            assert await it.channel.unary(GUARDED, b"plain") == b"PLAIN"
            send(client, GUARDED.path, compressed(b"packed" * 1_000))
            body = await client.frame(f.DataFrame)
            assert isinstance(body, f.DataFrame)
            assert body.data == frame(b"PACKED" * 1_000)

    run(main())
    assert len(inflated) == 1


@pytest.mark.parametrize(
    ("messages", "code", "text"),
    [
        ([BOMB], StatusCode.RESOURCE_EXHAUSTED, "exceeds the limit of 4194304 bytes"),
        ([NOT_GZIP], StatusCode.INTERNAL, "a compressed message is not gzip"),
        ([b"\x02\x00\x00\x00\x00"], StatusCode.INTERNAL, "unknown message flag 2"),
        ([compressed(b"x")] * 2, StatusCode.INTERNAL, "this method takes exactly one message"),
        ([], StatusCode.INTERNAL, "this method takes exactly one message"),
    ],
)
@pytest.mark.parametrize("called", [GUARDED, ECHO], ids=["guarded", "plain"])
def test_messages_that_cannot_be_inflated_are_refused(
    engine: str, called: object, messages: list[bytes], code: StatusCode, text: str
) -> None:
    async def main() -> None:
        path = GUARDED.path if called is GUARDED else ECHO.path
        async with pair(engine, routes=[guarded(GUARDED, let_in)]) as it, raw(it) as client:
            send(client, path, *messages)
            answer = await client.status()
            assert answer["grpc-status"] == str(code.value)
            assert text in answer["grpc-message"]
            assert await it.channel.unary(ECHO, b"alive") == b"alive"

    run(main())


def test_messages_of_a_stream_are_inflated_one_by_one(engine: str, inflated: list[bytes]) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            send(client, CHAT.path, compressed(b"one"), frame(b"two"), NOT_GZIP, compressed(b"never"))
            body = await client.frame(f.DataFrame)
            assert isinstance(body, f.DataFrame)
            assert body.data == frame(b"one") + frame(b"two")
            assert (await client.status())["grpc-status"] == str(StatusCode.INTERNAL.value)

    run(main())
    assert inflated[-1] == b"abc"
    assert len(inflated) == 2


def test_a_handler_cannot_read_on_past_a_message_that_cannot_be_inflated(engine: str) -> None:
    seen = asyncio.Queue[str]()

    async def stubborn(call: Call) -> None:
        for _ in range(2):
            try:
                await call.receive()
            except RpcError as error:
                await seen.put(error.message)

    async def main() -> None:
        async with pair(engine, routes=[bidi(DOOR, stubborn)]) as it, raw(it) as client:
            send(client, DOOR.path, NOT_GZIP, frame(b"fine"))
            assert (await client.status())["grpc-status"] == "13"
            assert await seen.get() == await seen.get()
            connection = next(c for c in it.server._connections if c.peer.process is not None)
            assert connection.kept_bytes == 0

    run(main())


def test_what_waits_is_counted_as_it_came(engine: str, inflated: list[bytes]) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            packed = compressed(bytes(1_000_000))
            send(client, SUM.path, *[packed] * 20)
            body = await client.frame(f.DataFrame)
            assert isinstance(body, f.DataFrame)
            assert body.data == frame(b"20000000")

    run(main())
    assert len(inflated) == 20

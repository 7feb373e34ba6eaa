"""Methods whose requests are small take no large ones, compressed or not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hyperframe import frame as f

from finial.rpc import LOCAL, MethodKind, Route, bidi, client_stream, guarded, server_stream, unary
from finial.rpc.framing import frame
from support.raw import compressed, raw
from support.rpc import ENGINES, Bytes, Call, method, pair, run

pytestmark = pytest.mark.parametrize("engine", ENGINES)

MOST = 1_000
UNARY, GUARDED = method("Small", MethodKind.UNARY), method("SmallGuarded", MethodKind.UNARY)
OUT, IN = method("SmallOut", MethodKind.SERVER_STREAM), method("SmallIn", MethodKind.CLIENT_STREAM)
BOTH = method("SmallBoth", MethodKind.BIDI)


def size(request: bytes, _: Call) -> bytes:
    return str(len(request)).encode()


async def size_later(call: Call) -> bytes:
    return size(call.request(), call)


async def send_size(request: bytes, call: Call) -> None:
    await call.send(size(request, call))


async def take_one(call: Call) -> bytes:
    request = await call.receive()
    assert request is not None
    return size(request, call)


async def talk(call: Call) -> None:
    await call.send(await take_one(call))


ROUTES = [
    unary(UNARY, size, most=MOST),
    guarded(GUARDED, size_later, most=MOST),
    server_stream(OUT, send_size, most=MOST),
    client_stream(IN, take_one, most=MOST),
    bidi(BOTH, talk, most=MOST),
]
METHODS = [route.method for route in ROUTES]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("which", METHODS, ids=lambda each: each.name)
def test_a_request_within_the_limit_of_its_method_is_served(engine: str, which: Bytes, packed: bool) -> None:
    async def main() -> None:
        async with pair(engine, routes=ROUTES) as it, raw(it) as client:
            message = bytes(MOST)
            client.send(
                client.headers(1, which.path, {"grpc-encoding": "gzip"}),
                f.DataFrame(1, compressed(message) if packed else frame(message), flags=["END_STREAM"]),
            )
            answer = await client.frame(f.DataFrame)
            assert isinstance(answer, f.DataFrame)
            assert answer.data == frame(b"1000")

    run(main())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("which", METHODS, ids=lambda each: each.name)
def test_one_beyond_it_is_refused_with_all_figures(engine: str, which: Bytes, packed: bool) -> None:
    async def main() -> None:
        async with pair(engine, routes=ROUTES) as it, raw(it) as client:
            message = bytes(MOST + 1)
            client.send(
                client.headers(1, which.path, {"grpc-encoding": "gzip"}),
                f.DataFrame(1, compressed(message) if packed else frame(message), flags=["END_STREAM"]),
            )
            answer = await client.status()
            assert answer["grpc-status"] == "8"
            found = "at least 1001 bytes after decompression" if packed else "1001 bytes"
            limit = f"exceeds the limit of 1000 bytes for {which.path}"
            assert answer["grpc-message"] == f"message of {found} {limit}"

    run(main())


def test_the_limit_of_the_server_holds_for_methods_that_would_take_more(engine: str) -> None:
    async def main() -> None:
        generous: Route = unary(UNARY, size, most=10 * MOST)
        limits = replace(LOCAL, max_receive_bytes=MOST)
        async with pair(engine, routes=[generous], limits=limits) as it, raw(it) as client:
            client.send(client.headers(1, UNARY.path), f.DataFrame(1, frame(bytes(MOST + 1))))
            assert "exceeds the limit of 1000 bytes" in (await client.status())["grpc-message"]

    run(main())

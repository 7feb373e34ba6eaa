"""Figures and health by HTTP: the right answers, and small bounded answers to whoever means no good."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from finial.core.errors import Kind
from finial.runtime.metrics import CONTENT_TYPE, Registry, _Family
from finial.runtime.scrape import (
    MOST_CONNECTIONS,
    MOST_IGNORED,
    PATIENCE,
    Responder,
    ScrapeError,
    serve,
)
from support.clock import ManualClock, settle
from support.rpc import run

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Place:
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int = 0


@dataclass
class Served:
    """What a test works with."""

    responder: Responder
    registry: Registry
    clock: ManualClock
    ready: list[bool]
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def ask(
        self, target: str, method: str = "GET", body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """The answer as Python's own client reads it; its body is at `.read()`."""

        def call() -> http.client.HTTPResponse:
            client = http.client.HTTPConnection("127.0.0.1", self.responder.port, timeout=10)
            client.request(method, target, body=body)
            answer = client.getresponse()
            data = answer.read()
            client.close()
            answer.read = lambda: data  # type: ignore[assignment,method-assign,misc]  # read once already
            return answer

        return await asyncio.to_thread(call)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which nothing has been said yet; closed at the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.responder.port)
        self.writers.append(writer)
        return reader, writer

    async def say(self, data: bytes) -> bytes:
        """Everything that comes back for these bytes."""
        reader, writer = await self.connect()
        writer.write(data)
        return await _rest(reader)

    async def until_connected(self, count: int) -> None:
        """Wait until so many are connected."""
        while len(self.responder._connections) != count:
            await settle()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end, whether that is a good one or not."""
    got = b""
    try:
        while data := await reader.read(65_536):
            got += data
    except ConnectionError:
        pass
    return got


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    registry, clock, ready = Registry(), ManualClock(), [True]
    responder = await serve(Place(), registry, lambda: ready[0], clock=clock)
    it = Served(responder, registry, clock, ready)
    try:
        yield it
    finally:
        for writer in it.writers:
            writer.close()
        await responder.close()


def test_figures_are_served_as_they_are_now() -> None:
    async def main() -> None:
        async with served() as it:
            counter = it.registry.counter("finial_x_total", "x.")
            for count in (1, 2):
                counter.inc()
                answer = await it.ask("/metrics?for=nobody")
                assert answer.status == 200
                assert answer.getheader("content-type") == CONTENT_TYPE
                assert answer.getheader("connection") == "close"
                (family,) = text_string_to_metric_families(answer.read().decode())
                assert [sample.value for sample in family.samples] == [count]
            await it.until_connected(0)

    run(main())


def test_health_says_what_is_so() -> None:
    async def main() -> None:
        async with served() as it:
            for ready, status, text in ((True, 200, b"ready\n"), (False, 503, b"not ready\n")):
                it.ready[0] = ready
                answer = await it.ask("/ready")
                assert (answer.status, answer.read()) == (status, text)
                answer = await it.ask("/live")
                assert (answer.status, answer.read()) == (200, b"live\n")

    run(main())


@pytest.mark.parametrize(
    "target", ["/", "/metrics/", "/Metrics", "//metrics", "/../metrics", "*", "http://x/live", "/%6cive"]
)
def test_there_is_nothing_else(target: str) -> None:
    async def main() -> None:
        async with served() as it:
            answer = await it.ask(target)
            assert (answer.status, answer.read()) == (
                404,
                b"not found: there are /metrics, /live and /ready\n",
            )

    run(main())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get"])
def test_nothing_can_be_done_but_look(method: str) -> None:
    async def main() -> None:
        async with served() as it:
            answer = await it.ask("/metrics", method, None if method == "get" else b"x" * 100_000)
            assert (answer.status, answer.getheader("allow")) == (405, "GET, HEAD")

    run(main())


def test_a_head_is_a_get_without_the_body() -> None:
    async def main() -> None:
        async with served() as it:
            for target in ("/metrics", "/live", "/nothing"):
                full, head = await it.ask(target), await it.ask(target, "HEAD")
                assert head.read() == b""
                assert (head.status, head.getheader("content-length")) == (
                    full.status,
                    str(len(full.read())),
                )
            raw = await it.say(b"HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.endswith(b"\r\n\r\n")

    run(main())


def test_a_head_may_come_in_pieces_and_an_old_client_is_served() -> None:
    async def main() -> None:
        async with served() as it:
            reader, writer = await it.connect()
            for byte in GET:
                writer.write(bytes((byte,)))
                await settle()
            assert (await _rest(reader)).startswith(b"HTTP/1.1 200 ")
            assert (await it.say(b"GET /live HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nlive\n")

    run(main())


def test_one_request_is_answered_and_no_second_one() -> None:
    async def main() -> None:
        async with served() as it:
            assert (await it.say(GET * 3)).count(b"HTTP/1.1") == 1

    run(main())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n\r\n\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # without Host
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n a: b\0\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 404),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400),
        (bytes(20_000), 400),
        (b"GET /" + b"x" * 17_000, 431),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 3_000, 431),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_what_is_no_request_is_answered_in_a_line(data: bytes, status: int) -> None:
    async def main() -> None:
        async with served() as it:
            answer = await it.say(data)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert len(answer) < 400
            assert b"Traceback" not in answer
            assert (await it.ask("/live")).status == 200

    run(main())


@pytest.mark.parametrize("what", ["metrics", "ready"])
def test_a_fault_of_ours_stays_in_the_log(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with served() as it:
            if what == "ready":
                it.ready.clear()
            else:
                it.registry._families["x"] = cast("_Family", None)
            answer = await it.ask(f"/{what}")
            assert (answer.status, answer.read()) == (500, b"internal error\n")

    with caplog.at_level("ERROR", logger="finial.metrics"):
        run(main())
    assert [record.message for record in caplog.records] == ["an HTTP request could not be answered"]


def test_whoever_says_nothing_is_not_waited_for() -> None:
    async def main() -> None:
        async with served() as it:
            silent, _ = await it.connect()
            slow, writer = await it.connect()
            writer.write(GET[:10])
            await it.until_connected(2)
            await it.clock.advance(PATIENCE - timedelta(seconds=1))
            assert len(it.responder._connections) == 2
            await it.clock.advance(timedelta(seconds=1))
            assert await _rest(silent) == b""
            assert await _rest(slow) == b""
            await it.until_connected(0)

    run(main())


def test_whoever_stays_after_the_answer_is_shown_out() -> None:
    async def main() -> None:
        async with served() as it:
            reader, writer = await it.connect()
            writer.write(GET)
            assert await reader.readuntil(b"\r\n\r\n")
            assert len(it.responder._connections) == 1
            await it.clock.advance(PATIENCE)
            await it.until_connected(0)

    run(main())


def test_whoever_goes_on_sending_is_cut_off() -> None:
    async def main() -> None:
        async with served() as it:
            reader, writer = await it.connect()
            writer.write(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 405 ")

            async def go_on() -> None:
                for _ in range(1_000):
                    writer.write(bytes(MOST_IGNORED // 4))
                    await writer.drain()

            with pytest.raises(ConnectionError):
                await go_on()
            await it.until_connected(0)

    run(main())


def test_a_crowd_keeps_nobody_out() -> None:
    async def main() -> None:
        async with served() as it:
            crowd = [await it.connect() for _ in range(MOST_CONNECTIONS)]
            await it.until_connected(MOST_CONNECTIONS)
            assert (await it.ask("/live")).status == 200
            assert await _rest(crowd[0][0]) == b""
            reader, writer = crowd[-1]
            writer.write(GET)
            assert (await _rest(reader)).startswith(b"HTTP/1.1 200 ")
            for _, writer in crowd:
                writer.close()
            await it.until_connected(0)

    run(main())


def test_whoever_goes_away_early_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with served() as it:
            for data in (b"", GET[:10], GET):
                _, writer = await it.connect()
                writer.write(data)
                writer.transport.abort()
            _, writer = await it.connect()
            writer.write_eof()
            await it.until_connected(0)
            assert (await it.ask("/live")).status == 200

    run(main())


def test_closing_ends_the_connections_too() -> None:
    async def main() -> None:
        async with served() as it:
            reader, _ = await it.connect()
            await it.until_connected(1)
            await it.responder.close()
            assert await _rest(reader) == b""
            with pytest.raises(ConnectionError):
                await it.connect()
        await Responder(Registry(), lambda: True, ManualClock()).close()  # never listened

    run(main())


@pytest.mark.parametrize(
    ("place", "kind", "text"),
    [
        (
            Place("127.0.0.1", 1),
            Kind.CONFLICT,
            "figures cannot be served at 127.0.0.1:{port}: the port is in use",
        ),
        (Place("192.0.2.1", 1), Kind.UNAVAILABLE, "figures cannot be served at 192.0.2.1:1: "),
        (Place("::zz", 1), Kind.UNAVAILABLE, "figures cannot be served at [::zz]:1: "),
    ],
)
def test_an_address_that_cannot_be_had_is_an_error_with_a_next_step(
    place: Place, kind: Kind, text: str
) -> None:
    async def main() -> None:
        async with served() as it:
            wanted = Place(place.host, it.responder.port) if kind is Kind.CONFLICT else place
            with pytest.raises(ScrapeError) as caught:
                await serve(wanted, it.registry, lambda: True, clock=it.clock)
            assert caught.value.message.startswith(text.format(port=it.responder.port))
            assert caught.value.reason.kind is kind
            assert caught.value.reason.hint

    run(main())

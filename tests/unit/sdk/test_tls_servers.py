"""TLS contexts under asyncio, uvloop, http.client and http.server."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import ssl
import threading
from collections.abc import AsyncIterator

import pytest

from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import SpiffeID
from finial.core.match import ANY_ID, ExactID
from finial.sdk import HandshakeRefusedError, client_context, peer_id, server_context
from support.rpc import run
from support.tls_peers import BOTH, DB, FOREIGN, ONLY_A, ONLY_B, WEB, Changing, db, foreign, web


@contextlib.asynccontextmanager
async def echoing(context: ssl.SSLContext) -> AsyncIterator[tuple[int, list[SpiffeID]]]:
    callers: list[SpiffeID] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(peer_id(writer))
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], callers


async def ask(port: int, context: ssl.SSLContext) -> tuple[SpiffeID, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        peer = peer_id(writer)
        writer.write(b"hello\n")
        return peer, await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = peer_id(self.connection).text.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


def test_asyncio_follows_rotation_under_a_live_listener() -> None:
    async def main() -> None:
        source = Changing(db(), BOTH)
        async with echoing(server_context(source, source, ANY_ID)) as (port, callers):
            client = client_context(foreign(), BOTH, ANY_ID)
            assert await ask(port, client) == (DB, b"hello\n")
            assert callers == [FOREIGN]
            source.current = web()
            assert await ask(port, client) == (WEB, b"hello\n")
            source.trust = ONLY_A
            with contextlib.suppress(OSError):  # in TLS 1.3 a client learns of it when it reads
                assert await ask(port, client) == (WEB, b"")
            assert callers == [FOREIGN] * 2

    run(main())


def test_asyncio_callers_see_why() -> None:
    async def main() -> None:
        async with echoing(server_context(db(), BOTH, ANY_ID)) as (port, callers):
            with pytest.raises(HandshakeRefusedError, match=f"the peer is {DB}, expected {WEB}") as wrong:
                await ask(port, client_context(web(), BOTH, ExactID(WEB)))
            assert wrong.value.error.reason.id == "id-unexpected"
            with pytest.raises(HandshakeRefusedError, match="no federation with trust domain a.test"):
                await ask(port, client_context(web(), ONLY_B, ANY_ID))
            source = Changing(FinialError(Reason("test-none", Kind.DENIED), "no identity issued"), BOTH)
            with pytest.raises(HandshakeRefusedError, match="no identity issued"):
                await ask(port, client_context(source, source, ANY_ID))
            assert callers == []

    run(main())


def test_an_asyncio_server_without_identity_refuses_and_goes_on() -> None:
    async def main() -> None:
        source = Changing(FinialError(Reason("test-none", Kind.DENIED), "no identity issued"), BOTH)
        async with echoing(server_context(source, source, ANY_ID)) as (port, callers):
            client = client_context(web(), BOTH, ANY_ID)
            with pytest.raises(OSError):  # noqa: PT011 - whichever way the system says that it was closed
                await ask(port, client)
            source.current = db()
            assert await ask(port, client) == (DB, b"hello\n")
            assert callers == [WEB]

    run(main())


def test_uvloop_serves_and_calls_alike() -> None:
    async def main() -> None:
        async with echoing(server_context(db(), BOTH, ANY_ID)) as (port, callers):
            assert await ask(port, client_context(web(), BOTH, ANY_ID)) == (DB, b"hello\n")
            with pytest.raises(HandshakeRefusedError, match="expected"):
                await ask(port, client_context(web(), BOTH, ExactID(WEB)))
            assert callers == [WEB]

    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))


def test_http_client_and_a_listening_socket_follow_rotation() -> None:
    source = Changing(db(), BOTH)
    with http.server.HTTPServer(("127.0.0.1", 0), Hello) as server:
        server.socket = server_context(source, source, ANY_ID).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            client = client_context(web(), BOTH, ANY_ID)
            for expected in (db(), web()):
                source.current = expected
                connection = http.client.HTTPSConnection("127.0.0.1", server.server_port, context=client)
                connection.request("GET", "/")
                assert peer_id(connection.sock) == expected.id
                assert connection.getresponse().read() == WEB.text.encode()
                connection.close()
            stranger = client_context(web(), BOTH, ExactID(FOREIGN))
            connection = http.client.HTTPSConnection("127.0.0.1", server.server_port, context=stranger)
            with pytest.raises(HandshakeRefusedError, match="expected"):
                connection.request("GET", "/")
            connection.close()
        finally:
            server.shutdown()
            thread.join()

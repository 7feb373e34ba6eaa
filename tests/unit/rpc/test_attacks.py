"""Attacks that once went through, and mistakes of handlers that once took more than their own call down."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import ssl
from dataclasses import replace
from datetime import timedelta

import pytest
from hyperframe import frame as f

from finial.core.errors import FinialError
from finial.rpc import (
    LOCAL,
    Channel,
    ClientCall,
    ClientTLS,
    MethodKind,
    Rate,
    RpcError,
    Server,
    ServerTLS,
    StatusCode,
    Tcp,
    unary,
)
from finial.rpc.errorcode import ErrorCode
from finial.runtime.tls import client_context
from support.certs import Authority, Expect, client_tls, server_tls
from support.raw import GREETING, raw
from support.rpc import (
    CHAT,
    ECHO,
    ECHO_LATER,
    ENGINES,
    HANG,
    Call,
    Service,
    eventually,
    method,
    pair,
    run,
    socket_path,
)

pytestmark = pytest.mark.parametrize("engine", ENGINES)
HOME = Authority("home.test")
METADATA = method("Metadata", MethodKind.UNARY)


def _no_context() -> ssl.SSLContext:
    raise RuntimeError("no certificate yet")


def test_a_listener_whose_tls_cannot_start_serves_nobody_in_plain_text(engine: str) -> None:
    async def main() -> None:
        service = Service()
        async with Server(service.routes(), engine=engine) as server:
            tls = ServerTLS(_no_context, Expect("nobody"))
            address = await server.listen(Tcp("127.0.0.1", 0), tls=tls)
            assert isinstance(address, Tcp)
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(GREETING)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            assert service.calls == []

    run(main())


def test_a_client_whose_tls_cannot_start_sends_nothing(engine: str) -> None:
    async def main() -> None:
        seen = asyncio.Queue[bytes]()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f.SettingsFrame(0).serialize())
            try:
                await seen.put(await reader.read())
            except ConnectionError:
                await seen.put(b"")
            writer.close()

        address = socket_path()
        server = await asyncio.start_unix_server(listen, address.path)
        tls = ClientTLS(_no_context, Expect("nobody"))
        async with Channel(address, tls=tls, engine=engine) as channel:
            with pytest.raises(RpcError, match="TLS cannot start here: no certificate yet"):
                await channel.unary(ECHO, b"secret")
            assert await seen.get() == b""
        server.close()

    run(main())


def test_bytes_after_the_goodbye_are_not_kept(engine: str) -> None:
    async def main() -> None:
        async with Server(Service().routes(), engine=engine) as server:
            address = await server.listen(Tcp("127.0.0.1", 0), tls=server_tls(HOME))
            assert isinstance(address, Tcp)
            reader, writer = await asyncio.open_connection(address.host, address.port)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = client_context([HOME.der]).wrap_bio(incoming, outgoing)
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                    break
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()
            writer.write(outgoing.read() + bytes(100_000))
            with contextlib.suppress(ConnectionError):
                await reader.read()
            await eventually(lambda: not server._connections)
            writer.close()

    run(main())


def test_a_verifier_that_breaks_refuses(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken(chain: tuple[bytes, ...]) -> object:
        raise ZeroDivisionError

    async def main() -> None:
        service = Service()
        async with Server(service.routes(), engine=engine) as server:
            tls = ServerTLS(server_tls(HOME).context, broken)
            address = await server.listen(Tcp("127.0.0.1", 0), tls=tls)
            async with Channel(address, tls=client_tls(HOME), engine=engine) as channel:
                with pytest.raises(RpcError, match="could not be judged"):
                    await channel.unary(ECHO, b"x")
        assert service.calls == []

    with caplog.at_level(logging.ERROR, "finial.rpc"):
        run(main())
    assert "the verifier of peers failed" in caplog.text


def test_empty_messages_are_not_free(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            client.send(client.headers(1, HANG.path))
            for _ in range(20):
                client.send(f.DataFrame(1, bytes(5 * 600)))
            await it.service.started.wait()
            connection = next(c for c in it.server._connections if c.streams)
            await eventually(lambda: connection.kept_bytes > 12_000 * 64 - 1)
            assert connection.streams[1]._owed > 0

    run(main())


@pytest.mark.parametrize("how", ["plain", "refusing", "async"])
def test_metadata_that_cannot_be_sent_fails_only_its_call(
    engine: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    def plain(request: bytes, call: Call) -> bytes:
        call.trailing_metadata.append(("name", "line\nbreak"))
        if how == "refusing":
            raise RpcError(StatusCode.NOT_FOUND, "no")
        return request

    async def later(request: bytes, call: Call) -> bytes:
        return plain(request, call)

    async def main() -> None:
        routes = [unary(METADATA, later if how == "async" else plain)]
        async with pair(engine, routes=routes) as it, it.channel.call(CHAT) as other:
            with pytest.raises(RpcError, match="internal error"):
                await it.channel.unary(METADATA, b"x")
            await other.send(b"still")
            assert await other.receive() == b"still"

    with caplog.at_level(logging.ERROR, "finial.rpc"):
        run(main())
    assert "cannot be sent" in caplog.text


def test_a_table_of_errors_that_breaks_fails_only_its_call(engine: str) -> None:
    def broken(error: FinialError) -> RpcError:
        raise ZeroDivisionError

    def refuse(request: bytes, call: Call) -> bytes:
        raise FinialError(RpcError(StatusCode.INTERNAL, "").reason, "no")

    def stop(request: bytes, call: Call) -> bytes:
        raise asyncio.CancelledError

    async def main() -> None:
        stopping = method("Stop", MethodKind.UNARY)
        routes = [unary(METADATA, refuse), unary(stopping, stop)]
        async with Server(routes, engine=engine, translate=broken) as server:
            address = await server.listen(socket_path())
            async with Channel(address, engine=engine) as channel:
                for each in (METADATA, stopping):
                    with pytest.raises(RpcError, match="internal error"):
                        await channel.unary(each, b"x")

    run(main())


def test_a_request_that_is_no_call_and_its_reset_in_one_piece(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            both = client.headers(1, changes={":method": "GET"}).serialize()
            client.writer.write(both + f.RstStreamFrame(1, ErrorCode.CANCEL).serialize())
            client.send(client.headers(3, "/no/such", end=True))
            assert (await client.status())["grpc-status"] == "12"

    run(main())


async def _send_for_ever(call: ClientCall[bytes, bytes]) -> None:
    while True:
        await call.send(bytes(1_000_000))


def test_a_sender_is_let_go_at_its_deadline(engine: str) -> None:
    async def main() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            window = f.WindowUpdateFrame(0, 2**30)
            writer.write(f.SettingsFrame(0, {4: 2**30}).serialize() + window.serialize())
            await released.wait()
            writer.close()

        released = asyncio.Event()
        address = socket_path()
        server = await asyncio.start_unix_server(deaf, address.path, limit=1)
        async with Channel(address, engine=engine) as channel:
            async with channel.call(CHAT, timeout=timedelta(milliseconds=100)) as call:
                with pytest.raises(RpcError) as failed:
                    await _send_for_ever(call)
                assert failed.value.code is StatusCode.DEADLINE_EXCEEDED
            released.set()
        server.close()

    run(main())


def test_streams_that_the_server_has_to_reset_are_metered_too(engine: str) -> None:
    async def main() -> None:
        limits = replace(LOCAL, resets=Rate(20, 0.0))
        async with pair(engine, limits=limits) as it, raw(it) as client:
            for stream_id in range(1, 201, 2):
                client.send(client.headers(stream_id, HANG.path), f.DataFrame(stream_id, b"\xff" * 5))
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM

    run(main())


def test_calls_waiting_for_room_come_in_when_the_server_allows_more(engine: str) -> None:
    async def main() -> None:
        more = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f.SettingsFrame(0, {3: 0}).serialize())
            await more.wait()
            writer.write(f.SettingsFrame(0, {3: 100}).serialize())
            await reader.read()
            writer.close()

        address = socket_path()
        server = await asyncio.start_unix_server(serve, address.path)
        async with Channel(address, engine=engine) as channel:
            await channel.connect()
            hasty = asyncio.create_task(channel.unary(ECHO, b"x", timeout=timedelta(milliseconds=20)))
            with pytest.raises(RpcError):
                await hasty
            waiting = asyncio.create_task(channel.unary(ECHO, b"x"))
            (connection,) = channel._connections
            await eventually(lambda: len(connection._slots) == 1)
            more.set()
            await eventually(lambda: len(connection.streams) == 1)
            waiting.cancel()
        server.close()

    run(main())


def test_no_descriptor_of_a_peer_stays_behind(engine: str) -> None:
    async def main() -> None:
        async with Server(Service().routes(), engine=engine) as server:
            address = await server.listen(socket_path(), tls=server_tls(HOME))
            async with Channel(address, tls=client_tls(HOME), engine=engine) as channel:
                await channel.unary(ECHO, b"x")  # whatever is opened once is open now
            await eventually(lambda: not server._connections)
            gc.collect()
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts, and nothing else
            for _ in range(10):
                async with Channel(address, tls=client_tls(HOME), engine=engine) as channel:
                    await channel.unary(ECHO, b"x")
            await eventually(lambda: not server._connections)
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - as above

    run(main())


def test_stopping_does_not_wait_for_a_handler_that_will_not_end(engine: str) -> None:
    async def main() -> None:
        stubborn = method("Stubborn", MethodKind.UNARY)
        release = asyncio.Event()

        async def refuse_to_end(request: bytes, call: Call) -> bytes:
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()
            return request

        async with pair(engine, routes=[unary(stubborn, refuse_to_end)]) as it, raw(it) as client:
            call = asyncio.create_task(it.channel.unary(stubborn, b"x"))
            client.send(client.headers(1, ECHO_LATER.path))  # and no request
            await eventually(lambda: sum(len(c.streams) for c in it.server._connections) == 2)
            await it.server.stop(timedelta(milliseconds=50))
            with pytest.raises(RpcError):
                await call
            assert (await client.status())["grpc-message"] == "the server is stopping"
            release.set()
            await eventually(lambda: not it.server._tasks)

    run(main())


def test_a_message_cut_off_by_trailers_is_no_clean_end(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            client.send(client.headers(1, CHAT.path), f.DataFrame(1, b"\x00\x00\x00\x00\x05he"))
            block = client.encoder.encode([("x", "y")])
            client.send(f.HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]))
            assert (await client.status())["grpc-message"] == "the stream ended inside a message"

    run(main())

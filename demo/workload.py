"""A workload as one would write it: it asks who it is, serves and calls others by mTLS, and follows changes.

It is driven by commands on standard input, one JSON object a line, and reports on standard output likewise:

    ask      who am I, asked once: `identity` or `refused`
    serve    keep an identity, and serve whoever is of the same trust domain: `identity`, `lost`, `serving`,
             and of those who show a token `believed` or `doubted`
    call     make a connection to somebody: `met` or `failed`
    show     make one and show a token for an audience: `shown` or `failed`
    keep     make one and go on talking over it: `met` or `failed`, later `broken` if it breaks
    count    how many messages it has carried: `counted`
"""

from __future__ import annotations

import argparse
import asyncio
import encodings.idna  # noqa: F401 - `ssl` loads it late, when a process that became another user may not
import json
import logging
import os
import pkgutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, timedelta
from importlib import import_module

from finial.runtime.clock import SystemClock, wait_at_most
from finial.sdk import (
    X509SVID,
    ExactID,
    FinialError,
    MemberOf,
    Snapshot,
    SpiffeID,
    WorkloadClient,
    X509Source,
    client_context,
    peer_of,
    read_bearer,
    server_context,
    write_bearer,
)

_HOST = "127.0.0.1"
_GREETING = "hello"
_LOADED_LATE = ("finial.core", "finial.rpc", "finial.wire", "finial.sdk", "google.protobuf", "cryptography")
_PAUSE = timedelta(milliseconds=200)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def report(event: str, **values: str) -> None:
    """Write an event."""
    sys.stdout.write(f"{json.dumps({'event': event, **values})}\n")
    sys.stdout.flush()


def described(svid: X509SVID) -> dict[str, str]:
    """An SVID in words."""
    leaf = svid.leaf
    return {
        "id": svid.id.text,
        "serial": f"{leaf.serial:032x}",
        "begins": f"{leaf.not_before.astimezone(UTC):%H:%M:%S}",
        "ends": f"{leaf.not_after.astimezone(UTC):%H:%M:%S}",
        "dns": ", ".join(leaf.names.dns),
    }


class Turned(logging.Handler):
    """Reports whom the SDK has turned away, which it tells its log alone, and its warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        """Report a refusal or a warning."""
        message = record.getMessage()
        if message.startswith("refused a client"):
            report("turned-away", why=message.partition(": ")[2])
        elif record.levelno >= logging.WARNING:
            report("warned", of=message)


class Workload:
    """What it has and does.

    Args:
        stack: Closes what it opens.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._source: X509Source | None = None
        self._closing = asyncio.Event()
        self._talk: asyncio.Task[None] | None = None
        self._messages = 0
        self._seen = ""

    async def obey(self, command: dict[str, str]) -> None:
        """Do one thing."""
        match command["do"]:
            case "ask":
                await self._ask()
            case "serve":
                await self._serve()
            case "call":
                await self._call(command, keep=False)
            case "show":
                await self._show(command)
            case "keep":
                await self._call(command, keep=True)
            case "count":
                report("counted", messages=str(self._messages), seen=self._seen)

    async def _ask(self) -> None:
        async with WorkloadClient() as client:
            try:
                context = await client.fetch_x509_context()
            except FinialError as error:
                report("refused", why=str(error), hint=error.reason.hint)
            else:
                report("identity", **described(context.svid))

    async def _serve(self) -> None:
        source = self._source = await self._stack.enter_async_context(X509Source())
        _tell(source.snapshot)
        source.on_update(_tell)
        accept = MemberOf(source.svid.id.trust_domain)
        server = await asyncio.start_server(
            self._answer, _HOST, 0, ssl=server_context(source, source, accept)
        )
        await self._stack.enter_async_context(server)
        report("serving", port=str(server.sockets[0].getsockname()[1]))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one caller, who has been proven by the time that this begins."""
        assert self._source is not None
        caller = peer_of(writer)
        serial = f"{caller.leaf.serial:032x}"
        report("called", by=caller.id.text, serial=serial)
        try:
            while line := await reader.readline():
                shown = line.decode().rstrip("\n")
                name = await self._judge(shown) if shown != _GREETING else caller.id.path[1:]
                reply = {"said": f"Hello {name}", "seen": serial}
                writer.write(f"{json.dumps(reply)}\n".encode())
                await writer.drain()
        except OSError:
            pass  # the caller has gone
        finally:
            writer.close()

    async def _judge(self, value: str) -> str:
        """The name that a token proves, which somebody has shown as they would in HTTP."""
        assert self._source is not None
        audience = self._source.svid.id.text
        try:
            token = read_bearer([("Authorization", value)])
            async with WorkloadClient() as client:
                found = await client.validate_jwt_svid(token, audience)
        except FinialError as error:
            report("doubted", why=str(error))
            return "nobody"
        report("believed", id=found.id.text)
        return found.id.path[1:]

    async def _show(self, command: dict[str, str]) -> None:
        try:
            async with WorkloadClient() as client:
                svid = await client.fetch_jwt_svid(command["audience"])
            connection = await self._connect(command)
            reply = await _exchange(connection, write_bearer(svid.token))
        except (FinialError, OSError) as error:
            report("failed", why=str(error))
            return
        connection[1].close()
        ends = f"{svid.expires_at.astimezone(UTC):%H:%M:%S}"
        report("shown", audience=", ".join(svid.audience), ends=ends, said=reply["said"])

    async def _call(self, command: dict[str, str], *, keep: bool) -> None:
        try:
            connection = await self._connect(command)
            reply = await _exchange(connection)
        except (FinialError, OSError) as error:
            report("failed", why=str(error))
            return
        self._seen = reply["seen"]
        report("met", id=peer_of(connection[1]).id.text, **reply)
        if keep:
            self._talk = asyncio.create_task(self._go_on(connection))
            self._stack.callback(self._talk.cancel)
        else:
            connection[1].close()

    async def _connect(self, command: dict[str, str]) -> Connection:
        source = self._source
        assert source is not None
        source.svid  # noqa: B018 - raises when there is none, with a better word than a handshake has
        context = client_context(source, source, ExactID(SpiffeID(command["id"])))
        return await asyncio.open_connection(_HOST, int(command["port"]), ssl=context)

    async def _go_on(self, connection: Connection) -> None:
        """Exchange message after message over one connection."""
        try:
            while not await wait_at_most(SystemClock(), self._closing, _PAUSE):
                self._seen = (await _exchange(connection))["seen"]
                self._messages += 1
        except OSError as error:
            report("broken", why=str(error))


async def _exchange(connection: Connection, message: str = _GREETING) -> dict[str, str]:
    reader, writer = connection
    writer.write(f"{message}\n".encode())
    await writer.drain()
    line = await reader.readline()
    if not line:
        raise ConnectionResetError("the other side ended the connection without an answer")
    reply: dict[str, str] = json.loads(line)
    return reply


def _tell(snapshot: Snapshot) -> None:
    if snapshot.svid is not None:
        report("identity", **described(snapshot.svid))
    else:
        report("lost", why=str(snapshot.error))


async def _commands() -> AsyncIterator[dict[str, str]]:
    """What comes on standard input, until whoever drives us has gone."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield json.loads(line)


async def _main(uid: int | None) -> None:
    logger = logging.getLogger("finial.sdk")
    logger.setLevel(logging.INFO)
    logger.addHandler(Turned())
    if uid is not None:
        _become(uid)
    async with AsyncExitStack() as stack:
        workload = Workload(stack)
        async for command in _commands():
            await workload.obey(command)


def _become(uid: int) -> None:
    """Stop being root, for good."""
    # The other user may not be able to read these files: what would be loaded later is loaded now.
    for name in _LOADED_LATE:
        for module in pkgutil.walk_packages(import_module(name).__path__, f"{name}."):
            with suppress(Exception):  # parts that need something else are no part of this program
                import_module(module.name)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uid", type=int, help="the user to become first")
    asyncio.run(_main(parser.parse_args().uid))

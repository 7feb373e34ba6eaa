"""A workload on `finial.sdk` that takes the orders of the interoperability peers that rotation needs.

Run as a program of its own. `serve`, `served`, `dial`, `dialled` and `stop` are as peers/spiffepeer/main.go
describes them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from finial.core.errors import FinialError, Kind, Reason
from finial.core.x509svid import X509SVID
from finial.runtime.clock import SystemClock
from finial.sdk import ExactID, Picker, SpiffeID, X509Source, client_context, peer_id, peer_of, server_context

_PATIENCE = 20.0
_ABSENT = Reason("peer-svid", Kind.MISSING)

Order = dict[str, Any]
Answer = dict[str, Any]


def _pick(wanted: str) -> Picker:
    def pick(svids: Any) -> X509SVID:
        for svid in svids:
            if svid.id.text == wanted:
                found: X509SVID = svid
                return found
        raise FinialError(_ABSENT, f"no SVID of {wanted}")

    return pick


@dataclass
class _Tally:
    """Counts connections and remembers which certificates were seen on them."""

    stop: Callable[[], Awaitable[None]]
    ok: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    own: set[int] = field(default_factory=set)
    peer: set[int] = field(default_factory=set)
    authorities: set[int] = field(default_factory=set)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, own: X509SVID, connection: asyncio.StreamWriter) -> None:
        proof = peer_of(connection)
        async with self.grown:
            self.ok += 1
            self.own.add(own.leaf.serial)
            self.peer.add(proof.leaf.serial)
            self.authorities.add(proof.authority.serial)
            self.grown.notify_all()

    async def fail(self, error: Exception) -> None:
        async with self.grown:
            self.failed += 1
            self.errors[f"{type(error).__name__}: {error}"] += 1
            self.grown.notify_all()

    async def figures(self, order: Order) -> Answer:
        """How it stands once there were as many as ordered."""

        def enough() -> bool:
            tried = self.ok + self.failed >= order.get("count", 0)
            seen = len(self.own) >= order.get("own", 0) and len(self.peer) >= order.get("peer", 0)
            return bool(tried and seen)

        async with self.grown:
            await self.grown.wait_for(enough)
        sets = {"own": self.own, "peer": self.peer, "authorities": self.authorities}
        return {
            "ok": self.ok,
            "failed": self.failed,
            "errors": dict(self.errors),
            **{name: len(found) for name, found in sets.items()},
        }


async def _serve(source: X509Source, order: Order) -> tuple[str, _Tally]:
    """Answer each line with the caller's ID and the line."""
    context = server_context(source, source, ExactID(SpiffeID(order["expect"])))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await writer.start_tls(context)
                await tally.add(source.svid, writer)
                writer.write(peer_id(writer).text.encode() + b" " + await reader.readline())
                await writer.drain()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is counted
            await tally.fail(error)
        finally:
            writer.close()

    host, _, port = order["target"].rpartition(":")
    server = await asyncio.start_server(answer, host, int(port), backlog=128)

    async def stop() -> None:
        server.close()

    tally = _Tally(stop)
    return "{}:{}".format(*server.sockets[0].getsockname()), tally


def _dial(source: X509Source, order: Order) -> _Tally:
    """Make a connection at each beat, and see a line come back on it."""
    context = client_context(source, source, ExactID(SpiffeID(order["expect"])))
    host, _, port = order["target"].rpartition(":")
    pause, clock = timedelta(milliseconds=order["every_ms"]), SystemClock()

    async def call() -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                own = source.svid
                reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
                try:
                    writer.write(b"hello\n")
                    line = await reader.readline()
                    assert line.endswith(b" hello\n"), line
                    await tally.add(own, writer)
                finally:
                    writer.close()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is counted
            await tally.fail(error)

    async def beat() -> None:
        async with asyncio.TaskGroup() as calls:
            while not ended.is_set():
                calls.create_task(call())
                await clock.sleep(pause)

    async def stop() -> None:
        ended.set()
        await task

    ended, tally = asyncio.Event(), _Tally(stop)
    task = asyncio.create_task(beat())
    return tally


@dataclass
class _Program:
    sources: dict[tuple[str, str], X509Source] = field(default_factory=dict)
    tallies: dict[str, _Tally] = field(default_factory=dict)

    async def _source(self, order: Order) -> X509Source:
        key = order["socket"], order["as"]
        if key not in self.sources:
            source = X509Source(address=f"unix://{order['socket']}", pick=_pick(order["as"]))
            self.sources[key] = await source.__aenter__()
        return self.sources[key]

    async def obey(self, order: Order) -> Answer:
        name = order["name"]
        match order["op"]:
            case "serve":
                address, self.tallies[name] = await _serve(await self._source(order), order)
                return {"address": address}
            case "dial":
                self.tallies[name] = _dial(await self._source(order), order)
                return {}
            case "served" | "dialled":
                return await self.tallies[name].figures(order)
            case "stop":
                await self.tallies[name].stop()
                return await self.tallies[name].figures({})
            case other:
                raise ValueError(f"no operation {other!r}")

    async def close(self) -> None:
        for source in self.sources.values():
            await source.__aexit__(None, None, None)


async def main() -> None:
    """Obey until standard input ends."""
    program, loop = _Program(), asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    async def work(order: Order) -> None:
        try:
            answer = await program.obey(order)
        except Exception as error:  # noqa: BLE001 - it goes to the test
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer | {"id": order["id"]}), flush=True)

    working: set[asyncio.Task[None]] = set()
    while line := await orders.readline():
        task = asyncio.create_task(work(json.loads(line)))
        working.add(task)
        task.add_done_callback(working.discard)
    await program.close()


if __name__ == "__main__":
    asyncio.run(main())

"""A server of a simulation: the real store, index, admission and push over a real file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from finial.rpc import Route
from finial.rpc import guarded as guarded_route
from finial.rpc.method import Method, MethodKind
from finial.server.access import Access
from finial.server.api import chain
from finial.server.api.bundle import BundleService
from finial.server.api.entry import EntryService
from finial.server.api.push import PushService
from finial.server.fleet import Fleet
from finial.server.index.index import Index
from finial.server.push.delivery import Deliveries, Observers
from finial.server.push.failover import Failover
from finial.server.push.ground import Ground
from finial.server.push.hub import Hub
from finial.server.push.turns import Turns
from finial.server.store import nodes, snapshot
from finial.server.store.records import Change, NodeRecord
from finial.server.store.snapshot import Snapshot
from finial.server.store.writer import Tx
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.statuses import Denial, denied
from support.dice import Dice
from support.sim_authority import AGENT_TTL
from support.sim_clock import SimClock
from support.sim_store import SimStore
from support.sim_truth import DOMAIN, History


def _method(name: str) -> Method[str, int]:
    return Method(
        service="sim.Agents",
        name=name,
        kind=MethodKind.UNARY,
        encode_request=str.encode,
        decode_request=bytes.decode,
        encode_reply=lambda number: b"%d" % number,
        decode_reply=int,
    )


ATTEST = _method("Attest")
"""In place of SPIRE's attestation: an agent says who it is and is told the serial number of its SVID."""
RENEW = _method("Renew")


class Surroundings(Protocol):
    """What a server finds in the simulation that it is in."""

    clock: SimClock
    history: History
    path: Path

    def selectors_of(self, agent_id: str) -> tuple[Any, ...]:
        """What an attestor sees of a node."""

    def serial(self) -> int:
        """A number that is given once."""

    def applied(self, server: SimServer) -> None:
        """An index has taken something in."""


class _Index(Index):
    """The real index, which remembers when it looked at the time."""

    looked_at = float("inf")

    def __init__(self, clock: SimClock) -> None:
        super().__init__(DOMAIN)
        self._clock = clock

    def expire(self, now: float) -> float | None:
        self.looked_at = self._clock.monotonic()
        return super().expire(now)


class SimServer:
    """One server, from one start to the next.

    Args:
        around: The simulation.
        number: Names it.
        dice: Its chance.
        alone: Whether no other server has the file.
    """

    def __init__(self, around: Surroundings, number: int, dice: Dice, *, alone: bool) -> None:
        self.number = number
        self.timeline = around.history.timeline
        self.alone = alone
        self.pushes = True
        self.up = False
        self.deaf = False  # its index is not told any more: it dies at any moment
        self.faults: list[str] = []
        self.index = _Index(around.clock)
        self.clock = around.clock
        self._around = around
        self._dice = dice
        self.store = SimStore(
            around.path,
            around.history,
            clock=around.clock,
            chance=dice,
            server=f"server-{number}",
            alone=alone,
        )
        self.store.start(self._apply, self._reload)
        self._services: list[asyncio.Task[None]] = []
        self._routes: dict[str, Route] = {}

    async def open(self) -> None:
        """Load, and serve."""
        self.index.load(await self.store.write(snapshot.read))
        clock, index, store = self.clock, self.index, self.store
        fleet = self.fleet = Fleet(index, clock=clock)
        self.access = Access(index, store, clock=clock, admin_ids=(), fleet=fleet)
        self.hub = Hub(clock)
        deliveries = self.deliveries = Deliveries(
            index, self.hub, clock=clock, observers=Observers(_figure, _figure, _figure)
        )
        index.subscribe(deliveries.changed)
        ground = Ground(
            index=index,
            hub=self.hub,
            turns=Turns(clock, self._dice),
            failover=Failover(index, store, clock=clock, chance=self._dice),
            deliveries=deliveries,
            fleet=fleet,
            clock=clock,
            chance=self._dice,
        )
        endpoints = [
            *PushService(ground).endpoints(),
            *EntryService(index, store, clock=clock, chance=self._dice).endpoints(),
            *BundleService(index, store, fleet).endpoints(),
        ]
        routes = [
            *chain.routes(endpoints, self.access),
            guarded_route(ATTEST, self._attest),
            guarded_route(RENEW, self._renew),
        ]
        self._routes = {route.method.path: route for route in routes}
        self._services = [asyncio.ensure_future(index.run(clock)), asyncio.ensure_future(store.watch())]
        self.up = True

    def kill(self) -> None:
        """End it at once; nothing that it was about to do is done."""
        self.up = False
        self.deaf = True
        self.store.kill()
        for service in self._services:
            service.cancel()

    def check_services(self) -> None:
        """None of them may have ended."""
        for service in self._services:
            if service.done() and not service.cancelled():
                service.result()
        assert not self.faults, self.faults

    # What the network asks.

    def route(self, path: str) -> Route | None:
        if not self.pushes and path == push_pb.Push.Subscribe.path:
            return None
        return self._routes.get(path)

    def broke(self, error: BaseException, path: str) -> None:
        import traceback  # noqa: PLC0415

        self.faults.append(f"{path}: " + "".join(traceback.format_exception(error)))

    # What the store tells.

    def _apply(self, changes: Sequence[Change], position: int) -> None:
        if not self.deaf:
            self.index.apply(changes, position)
            self._around.applied(self)

    def _reload(self, found: Snapshot) -> None:
        if not self.deaf:
            self.index.reload(found)
            self._around.applied(self)

    # Agents come.

    async def _attest(self, call: Any) -> int:
        agent_id = call.request()
        serial, ends = self._around.serial(), self._ends()
        selectors = self._around.selectors_of(agent_id)

        def work(tx: Tx) -> NodeRecord:
            known = nodes.find(tx, agent_id)
            if known is not None and known.banned:
                raise _BannedError
            fresh = NodeRecord(
                seq=0 if known is None else known.seq,
                id=agent_id,
                attestation_type="sim",
                serial=str(serial),
                expires_at=ends,
                selectors=selectors,
            )
            return nodes.put(tx, fresh)

        try:
            await self.store.write(work)
        except _BannedError:
            raise denied(Denial.AGENT_BANNED, "banned") from None
        return serial

    async def _renew(self, call: Any) -> int:
        agent_id = call.request()
        await self.access.admit(call.peer, push_pb.Push.Subscribe.path)
        serial, ends = self._around.serial(), self._ends()

        def work(tx: Tx) -> None:
            known = nodes.get(tx, agent_id)
            if not known.banned:
                nodes.put(tx, replace(known, pending_serial=str(serial), pending_expires_at=ends))

        await self.store.write(work)
        return serial

    def _ends(self) -> int:
        return int((self.clock.now() + AGENT_TTL).timestamp())


class _BannedError(Exception):
    """The node may not come back."""


def _figure(_: float) -> None:
    """A figure that nobody wants."""

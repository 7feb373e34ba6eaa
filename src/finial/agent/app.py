"""The agent put together: the one place that constructs its pieces, and runs them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from finial.agent import figures
from finial.agent.api.workload import X509Profile
from finial.agent.api.workload_jwt import JWTProfile
from finial.agent.api.workload_stream import Reception
from finial.agent.api.workload_wit import WITProfile
from finial.agent.attest import WorkloadAttestation
from finial.agent.attest_node import JOIN_TOKEN, Proof, TokenSource
from finial.agent.book import Book
from finial.agent.bootstrap import Start, believe, look_around
from finial.agent.cache import Cache
from finial.agent.calm import Calm
from finial.agent.config import AgentSettings
from finial.agent.descriptors import callers_for, raise_limit
from finial.agent.disk import FOLDER, Disk
from finial.agent.feed import Feed
from finial.agent.intake import Intake
from finial.agent.jwt import JWTSupply
from finial.agent.jwt_call import JWTCall
from finial.agent.jwt_renewal import JWTRenewal
from finial.agent.jwt_tries import JWTTries
from finial.agent.link import Link
from finial.agent.node import Node
from finial.agent.polling import Polling
from finial.agent.progress import Progress
from finial.agent.pushed import Pushed
from finial.agent.report import Reporter
from finial.agent.signing import Signer
from finial.agent.sync import Sync
from finial.agent.wit import WITSigner
from finial.core.bundle import Bundle
from finial.core.ids import SpiffeID
from finial.plugin.catalog import Group, PluginContext, load, load_all
from finial.plugin.node import NODE_ATTESTORS_AGENT
from finial.plugin.workload import WORKLOAD_ATTESTORS, WorkloadAttestor
from finial.rpc import LOCAL, Server, Unix
from finial.runtime import files
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.metrics import Registry
from finial.runtime.service import run_until
from finial.wire.gen import workload
from finial.wire.health import WHOLE, HealthState, health_routes
from finial.wire.reflection import reflection_routes
from finial.wire.status import error_from

_log = logging.getLogger("finial.agent")

_LARGEST_REQUEST = 64 << 10  # a token to be judged has 32 KiB at most; a stream keeps its request for days
_SOCKET_MODE = 0o777  # any user's process may ask who it is
_UNIX = "unix"


@dataclass(frozen=True, slots=True)
class Running:
    """An agent that has an identity and answers workloads.

    Args:
        agent_id: Who it is.
        socket: Where it answers.
        synced: Set once it knows its entries; before that every workload is told to come again.
    """

    agent_id: SpiffeID
    socket: Unix
    synced: asyncio.Event


async def run(
    settings: AgentSettings,
    *,
    clock: Clock,
    chance: Chance,
    stop: asyncio.Event,
    ready: Callable[[Running], None],
) -> None:
    """Run an agent until it is told to stop, or can be one no longer.

    Args:
        settings: What the operator decided.
        clock: Time.
        chance: Randomness.
        stop: Set to end it in good order.
        ready: Called once the agent has an identity; its socket answers from before that.

    Raises:
        FinialError: Something that an operator can mend.
    """
    disk = Disk(settings.data_dir)
    with disk.lock():
        start = look_around(settings, disk, clock.now())
        bundle = start.bundle
        if bundle is None:
            bundle = await believe(settings.server, start.trust_domain, clock=clock, chance=chance)
        agent = _Agent(settings, disk, bundle, clock=clock, chance=chance)
        await agent.run(start, stop, ready)


class _Agent:
    """The pieces and how they hang together."""

    def __init__(
        self, settings: AgentSettings, disk: Disk, bundle: Bundle, *, clock: Clock, chance: Chance
    ) -> None:
        context = PluginContext(
            trust_domain=bundle.trust_domain, clock=clock, chance=chance, data_dir=settings.data_dir
        )
        book = Book(bundle, settings.availability_target)
        self.figures = Registry()
        self.progress = Progress()
        self.cache = Cache(book, clock, self.progress)
        self.link = Link(settings.server, bundle, clock)
        self.node = Node(
            disk,
            self.link,
            _proof(settings, context),
            clock=clock,
            chance=chance,
            serving_until=book.last_end,
            drop=self.cache.wipe,
        )
        self.sync = self._sync(settings.sync_interval, clock, chance)
        self.signer = Signer(
            self.node, self.cache, self.sync, clock=clock, chance=chance, progress=self.progress
        )
        self.jwts = self._jwts(clock, chance)
        calm = Calm(self.link, clock=clock, chance=chance)
        wits = WITSigner(self.node, self.cache, self.sync, calm, clock=clock, chance=chance)
        self.wits = wits if settings.incubating_wit_svid else None
        proc = Path(os.environ.get("HOST_PROC") or "/proc")
        self.attestation = WorkloadAttestation(_workload_attestors(settings, context), proc=proc)
        self.health = HealthState({WHOLE: False, workload.SpiffeWorkloadAPI.name: False})
        reception = Reception(self.cache, self.attestation, clock=clock)
        claims = settings.allowed_foreign_jwt_claims
        routes = [
            *X509Profile(reception, self.cache).routes(),
            *JWTProfile(reception, self.cache, self.jwts, clock=clock, foreign_claims=claims).routes(),
            *(WITProfile(reception, self.cache).routes() if self.wits else ()),
            *health_routes(self.health),
        ]
        connections = min(settings.limits_max_connections, callers_for(raise_limit()))
        limits = replace(
            LOCAL,
            max_receive_bytes=_LARGEST_REQUEST,
            max_connections=connections,
            max_handshakes=connections,  # without TLS a silent caller costs no more than one that speaks
            max_concurrent_streams=settings.limits_max_concurrent_streams,
        )
        self.server = Server(
            [*routes, *reflection_routes(routes)],
            limits=limits,
            translate=error_from,
            jitter=chance.fraction,
        )
        self.socket = Unix(str(settings.socket), _SOCKET_MODE)
        self.grace = settings.shutdown_grace
        self.metrics_bind = settings.metrics_bind
        self.clock = clock

    def _sync(self, interval: timedelta, clock: Clock, chance: Chance) -> Sync:
        intake = Intake(self.node, self.cache, clock=clock)
        pushed = Pushed(intake, clock=clock, mismatches=figures.mismatches(self.figures))
        figures.describe(self.figures, cache=self.cache, intake=intake, pushed=pushed, clock=clock)
        reporter = Reporter(self.node, self.cache.book, self.progress, clock=clock)
        feed = Feed(self.link, pushed, reporter, clock=clock, chance=chance)
        polling = Polling(intake)
        return Sync(self.node, feed, polling, intake=intake, clock=clock, chance=chance, interval=interval)

    def _jwts(self, clock: Clock, chance: Chance) -> JWTSupply:
        call = JWTCall(self.node, self.cache, self.sync, clock=clock)
        calm = Calm(self.link, clock=clock, chance=chance)
        tries = JWTTries(call, self.cache, calm, clock=clock, chance=chance)
        renewal = JWTRenewal(tries, self.cache, clock=clock)
        hits, misses = figures.fetched_jwts(self.figures)
        return JWTSupply(tries, renewal, clock=clock, hits=hits, misses=misses)

    async def run(self, start: Start, stop: asyncio.Event, ready: Callable[[Running], None]) -> None:
        files.folder(Path(self.socket.path).parent, FOLDER)
        try:
            # The socket first: it must not turn out to be in use when a token has been used up.
            await self.server.listen(self.socket)
            async with self._figures():
                await run_until(stop, [self._work(start, stop, ready)])
        finally:
            self.health.stop()
            await self.server.stop(self.grace)
            self.attestation.close()
            await self.link.close()

    @asynccontextmanager
    async def _figures(self) -> AsyncIterator[None]:
        """Serve figures, if they are wanted, until the block ends."""
        if self.metrics_bind is None:
            yield
            return
        from finial.runtime import scrape  # noqa: PLC0415 - h11 is imported only where figures are served

        served = await scrape.serve(
            self.metrics_bind, self.figures, self.cache.synced.is_set, clock=self.clock
        )
        _log.info("figures served", extra=fields(host=self.metrics_bind.host, port=served.port))
        try:
            yield
        finally:
            await served.close()

    async def _work(self, start: Start, stop: asyncio.Event, ready: Callable[[Running], None]) -> None:
        await self.node.join(start.identity)
        agent_id = self.node.identity.id
        ready(Running(agent_id, self.socket, self.cache.synced))
        _log.info("agent ready", extra=fields(id=agent_id, socket=self.socket.path))
        services = [
            self.node.keep(), self.sync.run(), self.signer.run(), self.jwts.run(), self.cache.keep(),
            self._tell_health(), *([self.wits.run()] if self.wits else []),
        ]  # fmt: skip
        await run_until(stop, services)

    async def _tell_health(self) -> None:
        await self.cache.synced.wait()
        for name in (WHOLE, workload.SpiffeWorkloadAPI.name):
            self.health.set(name, serving=True)


def _proof(settings: AgentSettings, context: PluginContext) -> Proof:
    name = settings.node_attestor
    if name == JOIN_TOKEN:
        return Proof(name, TokenSource(settings.join_token, settings.join_token_file))
    table = _tables(settings, NODE_ATTESTORS_AGENT).get(name, {})
    return Proof(name, load(NODE_ATTESTORS_AGENT, name, table, context=context))


def _workload_attestors(settings: AgentSettings, context: PluginContext) -> Mapping[str, WorkloadAttestor]:
    own = {
        "discover_workload_path": settings.unix_discover_path,
        "workload_size_limit": settings.unix_sha256_size_limit,
    }
    tables = _tables(settings, WORKLOAD_ATTESTORS)
    tables = {**tables, _UNIX: {**own, **tables.get(_UNIX, {})}}
    return load_all(WORKLOAD_ATTESTORS, settings.workload_attestors, tables, context=context)


def _tables(settings: AgentSettings, group: Group[Any]) -> Mapping[str, Mapping[str, object]]:
    return settings.plugins.get(group.table, {})

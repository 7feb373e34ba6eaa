"""A server: everything it is made of, put together here and nowhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from finial.core.errors import FinialError
from finial.core.ids import TrustDomain
from finial.plugin.catalog import PluginContext, load_all
from finial.plugin.node import NODE_ATTESTORS_SERVER
from finial.rpc import Address, Server, Unix
from finial.runtime import files
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.metrics import Registry
from finial.runtime.service import run_until
from finial.server import authorities
from finial.server.access import Access
from finial.server.api import chain
from finial.server.api.agent import AgentService
from finial.server.api.audiences import AudienceWatch
from finial.server.api.authority_desk import Desks
from finial.server.api.bundle import BundleService
from finial.server.api.entry import EntryService
from finial.server.api.fleet import FleetService
from finial.server.api.localauthority import LocalAuthorityService
from finial.server.api.push import PushService
from finial.server.api.svid import Ground as SVIDGround
from finial.server.api.svid_jwt import JWTService, Terms
from finial.server.api.svid_wit import WITService
from finial.server.api.svid_x509 import X509Service
from finial.server.attest import Attestation
from finial.server.authorities import Signers
from finial.server.ca.issue import Authority
from finial.server.config import ServerSettings
from finial.server.figures import broad, describe, observers, signed
from finial.server.fleet import Fleet
from finial.server.identity import ServerIdentity
from finial.server.index.index import Index
from finial.server.limits import Limiter
from finial.server.push.delivery import Deliveries
from finial.server.push.failover import Failover
from finial.server.push.ground import Ground as PushGround
from finial.server.push.hub import Hub
from finial.server.push.turns import Turns as Transfers
from finial.server.signing import Turns
from finial.server.store import database, pruning, snapshot
from finial.server.store.writer import Store
from finial.wire.health import check_route, whole_process
from finial.wire.status import error_from

_log = logging.getLogger("finial.server")

_DATA_FOLDER = 0o750
_ADMIN_SOCKET = 0o770
_DATABASE = "server.db"
_SERVER_NAME = "server"  # in the log and in the journal; further servers will have names of their own

_ATTESTATIONS, _SIGNATURES, _REPORTS = 1, 500, 10  # a second and address


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the services stand on."""

    settings: ServerSettings
    store: Store
    index: Index
    context: PluginContext
    signers: Signers
    desks: Desks
    fleet: Fleet
    figures: Registry


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves.

    Args:
        trust_domain: Whose.
        address: Where agents reach it.
        socket: Where operators reach it.
    """

    trust_domain: TrustDomain
    address: Address
    socket: Path


async def run(
    settings: ServerSettings,
    *,
    clock: Clock,
    chance: Chance,
    stop: asyncio.Event,
    ready: Callable[[Running], None],
) -> None:
    """Be a server until told to stop.

    Args:
        settings: What the operator decided.
        clock: Its clock.
        chance: Its randomness.
        stop: Set when it is to end.
        ready: Called once, when it serves.

    Raises:
        FinialError: Something that an operator can mend.
    """
    async with AsyncExitStack() as stack:
        data = files.folder(settings.data_dir, _DATA_FOLDER)
        stack.enter_context(files.FolderLock(data))
        store, index = await _open_store(settings, clock, chance)
        stack.push_async_callback(store.close)
        context = PluginContext(
            trust_domain=settings.trust_domain, clock=clock, chance=chance, data_dir=settings.data_dir
        )
        signers = authorities.signers(settings, context)
        identity = ServerIdentity(
            signers.x509,
            index,
            clock=clock,
            chance=chance,
            ttl=settings.agent_svid_ttl,
            admin_ids=settings.admin_ids,
        )
        kept = authorities.keep(
            settings, signers, store, context=context, on_activated=identity.authority_changed
        )
        await kept.start()
        identity.start()
        fleet = Fleet(index, clock=clock)
        desks = kept.desks(index, fleet, clock=clock)
        ground = _Ground(settings, store, index, context, signers, desks, fleet, Registry())
        await _listen(stack, ground, identity=identity, ready=ready)
        services = [store.watch(), index.run(clock), identity.run(), _prune(settings, store, clock)]
        await run_until(stop, [*services, *kept.services()])
        _log.info("stopping")


async def _listen(
    stack: AsyncExitStack, ground: _Ground, *, identity: ServerIdentity, ready: Callable[[Running], None]
) -> None:
    """Serve from here on, until the stack is unwound."""
    settings, context = ground.settings, ground.context
    access = Access(
        ground.index, ground.store, clock=context.clock, admin_ids=settings.admin_ids, fleet=ground.fleet
    )
    routes = chain.routes(_endpoints(ground), access)
    health = check_route(whole_process(lambda: _whether(_serves(ground.index))))
    health = replace(health, most=chain.SMALL)
    remote = Server(routes, limits=settings.limits, translate=error_from, jitter=context.chance.fraction)
    local = Server([*routes, health], translate=error_from)
    files.folder(settings.socket.parent, _DATA_FOLDER)
    # The remote port first: it is the one that somebody else may have.
    address = await remote.listen(settings.bind, tls=identity.tls)
    stack.push_async_callback(remote.stop, settings.shutdown_grace)
    await local.listen(Unix(str(settings.socket), _ADMIN_SOCKET))
    stack.push_async_callback(local.stop, settings.shutdown_grace)
    if settings.metrics_bind is not None:
        from finial.runtime import scrape  # noqa: PLC0415 - h11 is imported only where figures are served

        asked = await scrape.serve(
            settings.metrics_bind, ground.figures, lambda: _serves(ground.index), clock=context.clock
        )
        stack.push_async_callback(asked.close)
        _log.info("figures served", extra=fields(host=settings.metrics_bind.host, port=asked.port))
    ready(Running(settings.trust_domain, address, settings.socket))


async def _open_store(settings: ServerSettings, clock: Clock, chance: Chance) -> tuple[Store, Index]:
    path = settings.data_dir / _DATABASE
    engine = database.open_engine(path)
    epoch = await asyncio.to_thread(database.prepare, engine, path, settings.trust_domain, chance=chance)
    store = Store(engine, server=_SERVER_NAME, clock=clock)
    index = Index(settings.trust_domain)
    store.start(index.apply, index.reload)
    try:
        found = await store.write(snapshot.read)
    except FinialError:
        await store.close()
        raise
    index.load(found)
    _log.info(
        "store opened",
        extra=fields(path=path, epoch=epoch, entries=len(found.entries), agents=len(found.nodes)),
    )
    return store, index


def _endpoints(ground: _Ground) -> list[chain.Endpoint]:
    settings, store, index, context = ground.settings, ground.store, ground.index, ground.context
    authority, clock, chance = ground.signers.x509, context.clock, context.chance
    signing = Limiter(_SIGNATURES, clock=clock) if settings.ratelimit_signing else None
    attesting = Limiter(_ATTESTATIONS, clock=clock) if settings.ratelimit_attestation else None
    attestors = load_all(
        NODE_ATTESTORS_SERVER,
        settings.node_attestors,
        settings.plugins.get(NODE_ATTESTORS_SERVER.table, {}),
        context=context,
    )
    attestation = Attestation(
        settings.trust_domain,
        store,
        signer=authority,
        attestors=attestors,
        ttl=settings.agent_svid_ttl,
    )
    agents = AgentService(
        index,
        store,
        attestation,
        limits=(attesting, signing, Limiter(_REPORTS, clock=clock)),
        clock=clock,
        chance=chance,
        max_token_ttl=settings.max_join_token_ttl,
    )
    entries = EntryService(index, store, clock=clock, chance=chance)
    bundles = BundleService(index, store, ground.fleet, wit=ground.signers.wit is not None)
    push = _push(ground)
    describe(ground.figures, index=index, hub=push.hub, clock=clock, authority_end=lambda: _end(authority))
    return [
        *agents.endpoints(),
        *entries.endpoints(),
        *bundles.endpoints(),
        *_svids(ground, signing),
        *PushService(push).endpoints(),
        *LocalAuthorityService(ground.desks).endpoints(),
        *FleetService(index, ground.fleet, desks=ground.desks, deliveries=push.deliveries).endpoints(),
    ]


def _svids(ground: _Ground, signing: Limiter | None) -> list[chain.Endpoint]:
    """The SVID service. Tokens have limits of their own: who renews certificates is kept waiting by none."""
    settings, signers, chance = ground.settings, ground.signers, ground.context.chance
    clock, count = ground.context.clock, partial(signed, ground.figures)
    stand = SVIDGround(ground.index, Turns(clock=clock, chance=chance), clock)
    watch = AudienceWatch(*broad(ground.figures), refuse_wide=settings.refuse_wide_audiences)
    terms = Terms(settings.default_jwt_svid_ttl, settings.max_jwt_svid_ttl, settings.jwt_issuer or "")
    jwt_limit, wit_limit = (
        Limiter(_SIGNATURES, clock=clock) if settings.ratelimit_signing else None for _ in range(2)
    )
    x509 = X509Service(
        stand, signers.x509, limit=signing, ttl=settings.default_x509_svid_ttl, signed=count("x509")
    )
    jwt = JWTService(
        stand, signers.jwt, terms=terms, watch=watch, limit=jwt_limit, chance=chance, signed=count("jwt")
    )
    wit = WITService(
        stand,
        signers.wit,
        ttl=settings.default_wit_svid_ttl,
        limit=wit_limit,
        chance=chance,
        signed=count("wit"),
    )
    return [*x509.endpoints(), *jwt.endpoints(), *wit.endpoints()]


def _push(ground: _Ground) -> PushGround:
    """What the streams of agents stand on."""
    index, context = ground.index, ground.context
    clock, chance = context.clock, context.chance
    hub = Hub(clock)
    deliveries = Deliveries(index, hub, clock=clock, observers=observers(ground.figures))
    index.subscribe(deliveries.changed)
    return PushGround(
        index=index,
        hub=hub,
        turns=Transfers(clock, chance),
        failover=Failover(index, ground.store, clock=clock, chance=chance),
        deliveries=deliveries,
        fleet=ground.fleet,
        clock=clock,
        chance=chance,
    )


def _end(authority: Authority) -> datetime | None:
    certificate = authority.certificate
    return None if certificate is None else certificate.not_after


def _serves(index: Index) -> bool:
    return index.bundle is not None


async def _whether(answer: bool) -> bool:
    return answer


async def _prune(settings: ServerSettings, store: Store, clock: Clock) -> None:
    """Remove what has ended, for ever; a part in each transaction, so that others are not kept waiting."""
    while True:
        await clock.sleep(settings.prune_interval)
        more = True
        while more:
            more = await _prune_part(settings.trust_domain, store)


async def _prune_part(trust_domain: TrustDomain, store: Store) -> bool:
    """Whether there may be more to remove."""
    try:
        gone = await store.write(lambda tx: pruning.prune(tx, trust_domain.name))
    except FinialError as error:
        _log.warning(
            "what has ended could not be removed and will be later",
            extra=fields(error=error, next_step=error.reason.hint),
        )
        return False
    if gone:
        _log.info(
            "removed what has ended",
            extra=fields(entries=len(gone.entries), tokens=gone.tokens, authorities=gone.authorities),
        )
    return bool(gone.entries)

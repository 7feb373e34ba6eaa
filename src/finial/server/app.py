"""A server: everything it is made of, put together here and nowhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from finial.core.errors import FinialError
from finial.core.ids import TrustDomain
from finial.plugin.catalog import PluginContext, load, load_all
from finial.plugin.keys import KEY_MANAGERS
from finial.plugin.node import NODE_ATTESTORS_SERVER
from finial.rpc import Address, Server, Unix
from finial.runtime import files
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.service import run_until
from finial.server.access import Access
from finial.server.api import chain
from finial.server.api.agent import AgentService
from finial.server.api.bundle import BundleService
from finial.server.api.entry import EntryService
from finial.server.api.svid import SVIDService
from finial.server.attest import Attestation
from finial.server.ca.issue import Authority
from finial.server.ca.rotate import AuthorityPlan, Rotation
from finial.server.config import ServerSettings
from finial.server.identity import ServerIdentity
from finial.server.index.index import Index
from finial.server.limits import Limiter
from finial.server.store import database, pruning, snapshot
from finial.server.store.authorities import SQLJournal
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
        authority = Authority(settings.trust_domain, clock=clock, chance=chance)
        rotation = _rotation(settings, authority, store, context)
        await rotation.start()
        identity = ServerIdentity(
            authority,
            index,
            clock=clock,
            chance=chance,
            ttl=settings.agent_svid_ttl,
            admin_ids=settings.admin_ids,
        )
        identity.start()
        endpoints = _endpoints(_Ground(settings, store, index, context), authority)
        access = Access(index, store, clock=clock, admin_ids=settings.admin_ids)
        routes = chain.routes(endpoints, access)
        health = check_route(whole_process(lambda: _serves(index)))
        remote = Server(routes, limits=settings.limits, translate=error_from, jitter=chance.fraction)
        local = Server([*routes, health], translate=error_from)
        files.folder(settings.socket.parent, _DATA_FOLDER)
        # The remote port first: it is the one that somebody else may have.
        address = await remote.listen(settings.bind, tls=identity.tls)
        stack.push_async_callback(remote.stop, settings.shutdown_grace)
        await local.listen(Unix(str(settings.socket), _ADMIN_SOCKET))
        stack.push_async_callback(local.stop, settings.shutdown_grace)
        ready(Running(settings.trust_domain, address, settings.socket))
        services = [store.watch(), rotation.run(), identity.run(), _prune(settings, store, clock)]
        await run_until(stop, services)
        _log.info("stopping")


async def _open_store(settings: ServerSettings, clock: Clock, chance: Chance) -> tuple[Store, Index]:
    path = settings.data_dir / _DATABASE
    engine = database.open_engine(path)
    epoch = await asyncio.to_thread(database.prepare, engine, path, settings.trust_domain, chance=chance)
    store = Store(engine, server=_SERVER_NAME, clock=clock)
    index = Index(settings.trust_domain)
    store.start(index.apply)
    try:
        found = await store.write(snapshot.read)
    except FinialError:
        await store.close()
        raise
    index.load(found.entries, found.nodes, found.bundles)
    _log.info(
        "store opened",
        extra=fields(path=path, epoch=epoch, entries=len(found.entries), agents=len(found.nodes)),
    )
    return store, index


def _rotation(
    settings: ServerSettings, authority: Authority, store: Store, context: PluginContext
) -> Rotation:
    plugin_settings = settings.plugins.get(KEY_MANAGERS.table, {}).get(settings.key_manager, {})
    return Rotation(
        AuthorityPlan(ttl=settings.ca_ttl, key_type=settings.ca_key_type),
        authority=authority,
        journal=SQLJournal(store, settings.trust_domain),
        keys=load(KEY_MANAGERS, settings.key_manager, plugin_settings, context=context),
        clock=context.clock,
        chance=context.chance,
        on_activated=lambda _: None,
    )


def _endpoints(ground: _Ground, authority: Authority) -> list[chain.Endpoint]:
    settings, store, index, context = ground.settings, ground.store, ground.index, ground.context
    clock, chance = context.clock, context.chance
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
    svids = SVIDService(index, authority, clock=clock, limit=signing, ttl=settings.default_x509_svid_ttl)
    entries = EntryService(index, store, clock=clock, chance=chance)
    bundles = BundleService(index, store)
    return [*agents.endpoints(), *entries.endpoints(), *bundles.endpoints(), *svids.endpoints()]


async def _serves(index: Index) -> bool:
    return index.bundle is not None


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

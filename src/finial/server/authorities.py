"""The authorities of a server: who signs SVIDs of each kind, and what keeps them. Put together here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from finial.core.keys import KeyType
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate
from finial.plugin.catalog import PluginContext, load
from finial.plugin.keys import KEY_MANAGERS
from finial.runtime.clock import Clock
from finial.server.api.authority_desk import Desk, Desks
from finial.server.ca.issue import Authority
from finial.server.ca.kinds import JWT, WIT, A, Kind, KindName
from finial.server.ca.offices import AuthorityPlan, KeyOffice, Office, RootOffice
from finial.server.ca.rotate import Rotation
from finial.server.ca.tokens import JWTSigner, TokenSigner, WITSigner
from finial.server.ca.withdraw import leave, withdraw
from finial.server.config import ServerSettings
from finial.server.fleet import Fleet
from finial.server.index.index import Index
from finial.server.store.authorities import SQLJournal
from finial.server.store.writer import Store

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Keeping:
    """What keeps the authorities.

    Args:
        roots: Those of X.509-SVIDs.
        jwt: None where JWT-SVIDs are disabled.
        wit: None where WIT-SVIDs are not opted in.
        absent: What is to be done at the start about the kinds that are not signed.
    """

    roots: Rotation[Certificate]
    jwt: Rotation[TokenAuthority] | None
    wit: Rotation[TokenAuthority] | None
    absent: tuple[Work, ...]

    async def start(self) -> None:
        """Return when there is an authority of each kind to sign by; all are made at once.

        Raises:
            FinialError: One cannot be made, or read.
        """
        begin: list[Work] = [each.start for each in self._rotations()]
        found = await asyncio.gather(*(work() for work in (*begin, *self.absent)), return_exceptions=True)
        for each in found:
            if each is not None:
                raise each

    def services(self) -> list[Coroutine[Any, Any, None]]:
        """What is to run from then on."""
        return [each.run() for each in self._rotations()]

    def desks(self, index: Index, fleet: Fleet, *, clock: Clock) -> Desks:
        """Who takes orders about them."""
        return Desks(
            Desk(self.roots, index, fleet, clock=clock),
            None if self.jwt is None else Desk(self.jwt, index, fleet, clock=clock),
            None if self.wit is None else Desk(self.wit, index, fleet, clock=clock),
        )

    def _rotations(self) -> list[Rotation[Certificate] | Rotation[TokenAuthority]]:
        return [each for each in (self.roots, self.jwt, self.wit) if each is not None]


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signs SVIDs.

    Args:
        x509: There is always one.
        jwt: None where JWT-SVIDs are disabled.
        wit: None where WIT-SVIDs are not opted in.
    """

    x509: Authority
    jwt: JWTSigner | None
    wit: WITSigner | None


def signers(settings: ServerSettings, context: PluginContext) -> Signers:
    """Those that the settings ask for; they sign nothing before they are kept."""
    domain, clock = settings.trust_domain, context.clock
    return Signers(
        Authority(domain, clock=clock, chance=context.chance),
        None if settings.disable_jwt_svids else JWTSigner(domain, clock=clock),
        None if settings.incubating_wit_svid is None else WITSigner(domain, clock=clock),
    )


def keep(
    settings: ServerSettings,
    signers: Signers,
    store: Store,
    *,
    context: PluginContext,
    on_activated: Callable[[Certificate], None],
) -> Keeping:
    """What keeps the authorities of these signers.

    Args:
        settings: What the operator decided.
        signers: Who signs.
        store: Where journals and bundle are.
        context: Clock, chance and folder; of the key manager too.
        on_activated: Called each time another root begins to sign.
    """
    plugin_settings = settings.plugins.get(KEY_MANAGERS.table, {}).get(settings.key_manager, {})
    keys = load(KEY_MANAGERS, settings.key_manager, plugin_settings, context=context)
    plan = partial(AuthorityPlan, ttl=settings.ca_ttl)
    clock, chance = context.clock, context.chance

    def journal(kind: Kind[A]) -> SQLJournal[A]:
        return SQLJournal(store, settings.trust_domain, kind)

    def kept(office: Office[A]) -> Rotation[A]:
        return Rotation(office, journal=journal(office.kind), keys=keys, clock=clock, chance=chance)

    def kept_keys(
        kind: Kind[TokenAuthority], signer: TokenSigner | None, key_type: KeyType
    ) -> Rotation[TokenAuthority] | None:
        return None if signer is None else kept(KeyOffice(kind, plan(key_type=key_type), signer))

    absent: list[Work] = []
    if signers.jwt is None:
        absent.append(partial(leave, JWT, journal(JWT)))
    if signers.wit is None:
        absent.append(partial(withdraw, KindName.WIT, journal(WIT), keys))
    roots = RootOffice(
        plan(key_type=settings.ca_key_type), signers.x509, chance=chance, on_activated=on_activated
    )
    return Keeping(
        kept(roots),
        jwt=kept_keys(JWT, signers.jwt, settings.jwt_authority_key_type),
        wit=kept_keys(WIT, signers.wit, settings.wit_key_type),
        absent=tuple(absent),
    )

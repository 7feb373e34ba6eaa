"""What has ended is removed: entries, join tokens, authorities of the own bundle, old rows of the log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from finial.core.bundle import Bundle
from finial.core.rotation import prune_at
from finial.core.token_authority import TokenAuthority
from finial.server.store import bundles, changelog, entries, tokens
from finial.server.store.transaction import Tx

LOG_AGE = timedelta(hours=12)
"""Whoever reads the log from further back loads everything again."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a round has removed.

    Args:
        entries: Ids.
        tokens: How many join tokens.
        authorities: How many authorities.
    """

    entries: tuple[str, ...]
    tokens: int
    authorities: int

    def __bool__(self) -> bool:
        return bool(self.entries or self.tokens or self.authorities)


def prune(tx: Tx, trust_domain: str) -> Pruned:
    """Remove what has ended by now.

    Args:
        tx: The transaction.
        trust_domain: The own one's name.
    """
    changelog.prune(tx, tx.now - int(LOG_AGE.total_seconds()))
    return Pruned(entries.prune(tx), tokens.prune(tx), _prune_bundle(tx, trust_domain))


def _prune_bundle(tx: Tx, trust_domain: str) -> int:
    record = bundles.find(tx, trust_domain)
    if record is None:
        return 0
    left = without_ended(record.bundle, datetime.fromtimestamp(tx.now, UTC))
    gone = _count(record.bundle) - _count(left)
    if gone:
        bundles.revise(tx, trust_domain, lambda _: left)
    return gone


def _count(bundle: Bundle) -> int:
    return len(bundle.x509_authorities) + len(bundle.jwt_authorities) + len(bundle.wit_authorities)


def without_ended(bundle: Bundle, now: datetime) -> Bundle:
    """The bundle without the authorities that ended long ago; never one without any for X.509-SVIDs.

    A bundle without keys for tokens says that the trust domain has no tokens, which is right when all have
    ended. Of a key whose end nobody gave it is not known, and it stays.
    """
    kept = tuple(each for each in bundle.x509_authorities if now < prune_at(each.not_after))
    return replace(
        bundle,
        x509_authorities=kept or bundle.x509_authorities,
        jwt_authorities=_without_ended(bundle.jwt_authorities, now),
        wit_authorities=_without_ended(bundle.wit_authorities, now),
    )


def _without_ended(keys: tuple[TokenAuthority, ...], now: datetime) -> tuple[TokenAuthority, ...]:
    return tuple(each for each in keys if each.expires_at is None or now < prune_at(each.expires_at))

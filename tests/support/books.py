"""Books with entries and SVIDs in them, for tests of what an agent makes of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from finial.agent.book import AuthorizedEntry, Book
from finial.core.bundle import Bundle
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.core.x509svid import X509SVID
from support import forge
from support.forge import NOW, A

HOUR = timedelta(hours=1)
ROOT = forge.root()
OTHER = forge.root("other")
BUNDLE = forge.bundle(A, ROOT)
SECOND = timedelta(seconds=1)


def entry(entry_id: str = "e1", *selectors: str, **changes: Any) -> AuthorizedEntry:
    settings: dict[str, Any] = {
        "id": entry_id,
        "spiffe_id": SpiffeID(f"spiffe://a.test/{entry_id}"),
        "selectors": frozenset(Selector("t", each) for each in selectors or ("x",)),
        **changes,
    }
    return AuthorizedEntry(**settings)


def svid(
    of: AuthorizedEntry, root: forge.Made = ROOT, begin: datetime = NOW, life: timedelta = HOUR
) -> X509SVID:
    made = forge.leaf(root, of.spiffe_id.text, not_before=begin, not_after=begin + life)
    return X509SVID((made.certificate,), made.key)


def book(*entries: AuthorizedEntry, bundle: Bundle = BUNDLE, **changes: Any) -> Book:
    made = Book(bundle, **changes)
    made.replace_entries(entries)
    return made


def sign(of: Book, *entries: AuthorizedEntry, now: datetime = NOW, **how: Any) -> None:
    for each in entries:
        assert of.accept(each, svid(each, begin=now, **how), now=now, spread=0.5)


def due(of: Book, now: datetime = NOW) -> list[str]:
    """What would be taken, in this order; nothing is."""
    found: list[AuthorizedEntry] = []
    while batch := of.take(now, 1_000):
        found += batch
    of.give_back(found)
    return [each.id for each in found]


def next_at(of: Book, now: datetime = NOW) -> datetime | None:
    """When something falls due after what is due now."""
    due(of, now)
    return of.next_at()


def settle(of: Book) -> None:
    while of.unsettled:
        of.settle(NOW)


def with_taint(*tainted: forge.Made) -> Bundle:
    return Bundle(
        trust_domain=A,
        x509_authorities=(ROOT.certificate, OTHER.certificate),
        tainted=frozenset(each.certificate for each in tainted),
    )

"""Bundles in SQL: the own one, which this server and its neighbours add to, and foreign ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, Row, delete, insert, select, update

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.server.store.errors import MissingError
from finial.server.store.records import BundleRecord, ChangeKind
from finial.server.store.schema import BUNDLES
from finial.server.store.transaction import Tx
from finial.wire import bundles as wire

_MAX_REVISION = (1 << 63) - 1


def all_bundles(connection: Connection) -> Iterator[BundleRecord]:
    """Every bundle, in the order of creation."""
    yield from map(_record, connection.execute(select(BUNDLES).order_by(BUNDLES.c.seq)))


def present(connection: Connection, trust_domains: Sequence[str]) -> Iterator[BundleRecord]:
    """The bundles of these trust domains, as far as there are any; no more than one IN takes."""
    asked = select(BUNDLES).where(BUNDLES.c.trust_domain.in_(trust_domains))
    yield from map(_record, connection.execute(asked))


def find(tx: Tx, trust_domain: str) -> BundleRecord | None:
    """The bundle of a trust domain, if there is one."""
    row = tx.sql.execute(select(BUNDLES).where(BUNDLES.c.trust_domain == trust_domain)).first()
    return None if row is None else _record(row)


def get(tx: Tx, trust_domain: str) -> BundleRecord:
    """The bundle of a trust domain.

    Raises:
        MissingError: There is none.
    """
    found = find(tx, trust_domain)
    if found is None:
        raise MissingError("bundle not found", subject=trust_domain)
    return found


def put(tx: Tx, bundle: Bundle, data: bytes) -> BundleRecord:
    """Write the bundle of a trust domain, in place of the one that may be there.

    Args:
        tx: The transaction.
        bundle: What it says.
        data: The same as an encoded `types.Bundle`.
    """
    name = bundle.trust_domain.name
    old = find(tx, name)
    if old is None:
        values = {"trust_domain": name, "data": data}
        number = tx.sql.execute(insert(BUNDLES).values(values).returning(BUNDLES.c.seq)).scalar_one()
    else:
        number = old.seq
        tx.sql.execute(update(BUNDLES).where(BUNDLES.c.seq == number).values(data=data))
    record = BundleRecord(seq=number, bundle=bundle, data=data)
    tx.changed(ChangeKind.BUNDLE, name, record, revision=_revision(bundle))
    return record


def revise(tx: Tx, trust_domain: str, change: Callable[[Bundle], Bundle]) -> BundleRecord:
    """Change the own bundle; the sequence number rises by one if what others are told differs.

    A taint is for agents alone. Those of SPIRE let go of what is tainted before they have had it renewed:
    with another number at the same time, they would tell their workloads that these are nobody any more.

    Raises:
        MissingError: There is none.
    """
    old = get(tx, trust_domain)
    bundle = change(old.bundle)
    if bundle.same_content(old.bundle):
        return old
    if not bundle.untainted().same_content(old.bundle.untainted()):
        bundle = replace(bundle, sequence=old.bundle.sequence + 1)
    return put(tx, bundle, wire.revised(old.data, bundle))


def publish(tx: Tx, trust_domain: TrustDomain, change: Callable[[Bundle], Bundle]) -> BundleRecord:
    """Change the own bundle so that it has another authority; it begins with its first one.

    Args:
        tx: The transaction.
        trust_domain: The own one.
        change: Adds the authority.

    Raises:
        BundleError: Another key for tokens has its key id.
    """
    if find(tx, trust_domain.name) is None:
        first = replace(change(Bundle(trust_domain=trust_domain)), sequence=1)
        return put(tx, first, wire.encode(first))
    return revise(tx, trust_domain.name, change)


def remove(tx: Tx, trust_domain: str) -> None:
    """Delete a bundle.

    Raises:
        MissingError: There is none.
    """
    record = get(tx, trust_domain)
    tx.sql.execute(delete(BUNDLES).where(BUNDLES.c.seq == record.seq))
    tx.changed(ChangeKind.BUNDLE, trust_domain, None, revision=_revision(record.bundle))


def _revision(bundle: Bundle) -> int:
    """For the log, whose numbers are not as large as a foreign server's sequence number may be."""
    return min(bundle.sequence, _MAX_REVISION)


def _record(row: Row[tuple[object, ...]]) -> BundleRecord:
    return BundleRecord(seq=row.seq, bundle=wire.decode(row.data), data=row.data)

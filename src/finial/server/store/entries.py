"""Registration entries in SQL. A batch is one look-up and one insert per table, however many it brings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError, Kind, Reason
from finial.server.store import errors
from finial.server.store.errors import MissingError, StoreError
from finial.server.store.records import ChangeKind, EntryRecord
from finial.server.store.schema import BUNDLES, ENTRIES, FEDERATIONS
from finial.server.store.writer import Tx
from finial.wire import entryframes, registry

_BATCH = 1_000
_DIGEST_BYTES = 16
_MAX_ASKED = 400  # values of one IN; SQLite's limit on parameters was once 999

_NO_BUNDLE = Reason(
    "entry-federates-unknown",
    Kind.CONFLICT,
    hint="Set the bundle of that trust domain first, with `finial server bundle set`.",
    meaning="An entry names a foreign trust domain whose bundle the server does not have.",
)


class EntryExistsError(StoreError):
    """There is such an entry already: `existing` is it."""

    def __init__(self, message: str, existing: EntryRecord) -> None:
        super().__init__(errors.EXISTS, message, subject=existing.id)
        self.existing = existing


def all_entries(connection: Connection) -> Iterator[EntryRecord]:
    """Every entry, in the order of creation."""
    rows = connection.execution_options(yield_per=_BATCH).execute(select(ENTRIES).order_by(ENTRIES.c.seq))
    yield from map(_record, rows)


def create(tx: Tx, entries: Sequence[RegistrationEntry]) -> list[EntryRecord | FinialError]:
    """Create entries; each result is the new record, or why there is none, in the same order.

    What the entries say of their creation and their revision is replaced.
    """
    created = datetime.fromtimestamp(tx.now, UTC)
    fresh = [replace(entry, created_at=created, revision=0) for entry in entries]
    digests = [similarity(entry) for entry in fresh]
    taken = _taken(tx, digests, [entry.id for entry in fresh])
    known = _known_domains(tx, fresh)
    results: list[EntryRecord | FinialError] = []
    rows: list[dict[str, object]] = []
    places: list[int] = []
    for place, (entry, digest) in enumerate(zip(fresh, digests, strict=True)):
        error = _refusal(entry, digest, taken, known)
        if error is not None:
            results.append(error)
            continue
        record = _new_record(entry)
        results.append(record)
        taken[digest] = taken[entry.id] = record
        rows.append(_row(record, digest))
        places.append(place)
    if rows:
        statement = insert(ENTRIES).returning(ENTRIES.c.seq, sort_by_parameter_order=True)
        numbers = tx.sql.execute(statement, rows).scalars().all()
        for place, number in zip(places, numbers, strict=True):
            made = results[place]
            assert isinstance(made, EntryRecord)
            made.seq = number
            tx.changed(ChangeKind.ENTRY, made.id, made)
        _insert_federations(tx, ((numbers[at], fresh[place]) for at, place in enumerate(places)))
    return results


def revise(tx: Tx, entry_id: str, change: Callable[[RegistrationEntry], RegistrationEntry]) -> EntryRecord:
    """Change an entry; its revision rises by one.

    Args:
        tx: The transaction.
        entry_id: Which one.
        change: From the entry as it is to the entry as it is to be.

    Raises:
        MissingError: There is no such entry.
        EntryExistsError: It would say the same as another entry.
        StoreError: It would federate with a domain whose bundle is not there.
        FinialError: Whatever `change` raises.
    """
    old = get(tx, entry_id)
    before = registry.decode_entry(old.data)
    entry = replace(change(before), id=before.id, created_at=before.created_at, revision=before.revision + 1)
    digest = similarity(entry)
    others = {key: found for key, found in _taken(tx, [digest], []).items() if found.id != entry_id}
    error = _refusal(entry, digest, others, _known_domains(tx, [entry]))
    if error is not None:
        raise error
    record = _new_record(entry)
    record.seq = old.seq
    values = _row(record, digest)
    tx.sql.execute(update(ENTRIES).where(ENTRIES.c.seq == old.seq).values(values))
    if before.federates_with != entry.federates_with:
        tx.sql.execute(delete(FEDERATIONS).where(FEDERATIONS.c.entry == old.seq))
        _insert_federations(tx, [(old.seq, entry)])
    tx.changed(ChangeKind.ENTRY, entry_id, record, revision=record.revision)
    return record


def get(tx: Tx, entry_id: str) -> EntryRecord:
    """The entry with this id.

    Raises:
        MissingError: There is none.
    """
    row = tx.sql.execute(select(ENTRIES).where(ENTRIES.c.id == entry_id)).first()
    if row is None:
        raise MissingError("entry not found", subject=entry_id)
    return _record(row)


def remove(tx: Tx, entry_id: str) -> None:
    """Delete an entry.

    Raises:
        MissingError: There is none.
    """
    record = get(tx, entry_id)
    tx.sql.execute(delete(ENTRIES).where(ENTRIES.c.seq == record.seq))
    tx.changed(ChangeKind.ENTRY, entry_id, None, revision=record.revision)


def below(tx: Tx, parent_id: str) -> tuple[str, ...]:
    """The ids of the entries that stand directly under a parent."""
    statement = select(ENTRIES.c.id).where(ENTRIES.c.parent_id == parent_id).order_by(ENTRIES.c.seq)
    return tuple(tx.sql.execute(statement).scalars())


def federating(tx: Tx, trust_domain: str) -> tuple[str, ...]:
    """The ids of the entries that name a foreign trust domain."""
    joined = ENTRIES.join(FEDERATIONS, FEDERATIONS.c.entry == ENTRIES.c.seq)
    statement = select(ENTRIES.c.id).select_from(joined).where(FEDERATIONS.c.trust_domain == trust_domain)
    return tuple(tx.sql.execute(statement.order_by(ENTRIES.c.seq)).scalars())


def prune(tx: Tx) -> tuple[str, ...]:
    """Delete the entries that have ended; their ids."""
    ended = (ENTRIES.c.expires_at > 0) & (ENTRIES.c.expires_at <= tx.now)
    ids = tuple(tx.sql.execute(select(ENTRIES.c.id).where(ended).limit(_BATCH)).scalars())
    for entry_id in ids:
        remove(tx, entry_id)
    return ids


def similarity(entry: RegistrationEntry) -> bytes:
    """A digest over SPIFFE ID, parent and selectors, each framed by its length; 16 bytes."""
    parts = [entry.spiffe_id.text, entry.parent_id.text]
    for selector in entry.selectors:
        parts += [selector.type, selector.value]
    made = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        raw = part.encode()
        made.update(len(raw).to_bytes(4, "big") + raw)
    return made.digest()


def _taken(tx: Tx, digests: Sequence[bytes], ids: Sequence[str]) -> dict[bytes | str, EntryRecord]:
    """What is there already, by digest and by id."""
    found: dict[bytes | str, EntryRecord] = {}
    for at in range(0, len(digests), _MAX_ASKED):
        part = slice(at, at + _MAX_ASKED)
        same = or_(ENTRIES.c.digest.in_(digests[part]), ENTRIES.c.id.in_(ids[part]))
        for row in tx.sql.execute(select(ENTRIES).where(same)):
            record = _record(row)
            found[row.digest] = found[record.id] = record
    return found


def _known_domains(tx: Tx, entries: Iterable[RegistrationEntry]) -> frozenset[str]:
    asked = sorted({domain.name for entry in entries for domain in entry.federates_with})
    known: set[str] = set()
    for at in range(0, len(asked), _MAX_ASKED):
        part = asked[at : at + _MAX_ASKED]
        known |= set(
            tx.sql.execute(select(BUNDLES.c.trust_domain).where(BUNDLES.c.trust_domain.in_(part))).scalars()
        )
    return frozenset(known)


def _refusal(
    entry: RegistrationEntry,
    digest: bytes,
    taken: dict[bytes | str, EntryRecord],
    known: frozenset[str],
) -> StoreError | None:
    similar = taken.get(digest)
    if similar is not None and registry.decode_entry(similar.data).similar(entry):
        return EntryExistsError("similar entry already exists", similar)
    if entry.id in taken:
        return EntryExistsError(f"an entry with the id {entry.id} already exists", taken[entry.id])
    return _missing_domain(entry, known)


def _missing_domain(entry: RegistrationEntry, known: frozenset[str]) -> StoreError | None:
    missing = [domain.name for domain in entry.federates_with if domain.name not in known]
    if not missing:
        return None
    return StoreError(
        _NO_BUNDLE, f'unable to find federated bundle "spiffe://{missing[0]}"', subject=missing[0]
    )


def _insert_federations(tx: Tx, entries: Iterable[tuple[int, RegistrationEntry]]) -> None:
    rows = [
        {"entry": number, "trust_domain": domain.name}
        for number, entry in entries
        for domain in entry.federates_with
    ]
    if rows:
        tx.sql.execute(insert(FEDERATIONS), rows)


def _new_record(entry: RegistrationEntry) -> EntryRecord:
    kept = entryframes.keep(entry)
    assert entry.created_at is not None
    return EntryRecord(
        seq=0,
        id=entry.id,
        spiffe_id=entry.spiffe_id.text,
        parent_id=entry.parent_id.text,
        data=kept.data,
        masked=kept.masked,
        revision=entry.revision,
        created_at=int(entry.created_at.timestamp()),
        expires_at=0 if entry.expires_at is None else int(entry.expires_at.timestamp()),
        admin=entry.admin,
        downstream=entry.downstream,
    )


def _row(record: EntryRecord, digest: bytes) -> dict[str, object]:
    names = [name for name in EntryRecord.__slots__ if name != "seq"]
    return {"digest": digest, **{name: getattr(record, name) for name in names}}


def _record(row: Row[tuple[object, ...]]) -> EntryRecord:
    return EntryRecord(**{name: getattr(row, name) for name in EntryRecord.__slots__})

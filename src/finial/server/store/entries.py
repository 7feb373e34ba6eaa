"""Registration entries in SQL. A batch is one look-up and one insert per table, however many it brings."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, delete, insert, or_, select, update

from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError, Kind, Reason
from finial.server.store import errors
from finial.server.store.errors import MissingError, StoreError
from finial.server.store.records import ChangeKind, EntryRecord
from finial.server.store.schema import BUNDLES, ENTRIES, FEDERATIONS
from finial.server.store.transaction import Tx
from finial.wire import entryframes, registry

_BATCH = 1_000
_DIGEST_BYTES = 16
_STORED = tuple(column.name for column in ENTRIES.columns if column.name not in {"seq", "digest"})
_MAX_ASKED = 400  # values of one IN; SQLite's limit on parameters was once 999

# One statement for all: SQLAlchemy takes as long to make one as SQLite to run it.
_INSERT = insert(ENTRIES).returning(ENTRIES.c.seq, sort_by_parameter_order=True)
_UPDATE = update(ENTRIES).where(ENTRIES.c.seq == bindparam("row"))
_DIGESTS: BindParameter[Any] = bindparam("digests", expanding=True)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_SAME = select(ENTRIES).where(or_(ENTRIES.c.digest.in_(_DIGESTS), ENTRIES.c.id.in_(_IDS)))

Revision = Callable[[RegistrationEntry], RegistrationEntry]
"""From an entry as it is to the entry as it is to be; raises a FinialError to refuse."""

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
    federated = _federated(connection.execute(select(FEDERATIONS).order_by(FEDERATIONS.c.trust_domain)))
    rows = connection.execution_options(yield_per=_BATCH).execute(select(ENTRIES).order_by(ENTRIES.c.seq))
    instants: dict[int, int] = {}  # many entries have the same, of which memory has one copy
    for row in rows:
        record = _record(row, federated)
        record.created_at = instants.setdefault(record.created_at, record.created_at)
        yield record


def present(connection: Connection, ids: Sequence[str]) -> Iterator[EntryRecord]:
    """The entries with these ids, as far as there are any; no more than one IN takes."""
    chosen = ENTRIES.c.id.in_(ids)
    joined = ENTRIES.join(FEDERATIONS, FEDERATIONS.c.entry == ENTRIES.c.seq)
    named = select(FEDERATIONS).select_from(joined).where(chosen).order_by(FEDERATIONS.c.trust_domain)
    federated = _federated(connection.execute(named))
    yield from (_record(row, federated) for row in connection.execute(select(ENTRIES).where(chosen)))


def create(tx: Tx, entries: Sequence[RegistrationEntry]) -> list[EntryRecord | FinialError]:
    """Create entries; each result is the new record, or why there is none, in the same order.

    What the entries say of their creation and their revision is replaced.
    """
    created = datetime.fromtimestamp(tx.now, UTC)
    fresh = [entry.made(created) for entry in entries]
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
        numbers = tx.sql.execute(_INSERT, rows).scalars().all()
        for place, number in zip(places, numbers, strict=True):
            made = results[place]
            assert isinstance(made, EntryRecord)
            made.seq = number
            tx.changed(ChangeKind.ENTRY, made.id, made)
        _insert_federations(tx, ((numbers[at], fresh[place]) for at, place in enumerate(places)))
    return results


def revise(tx: Tx, entry_id: str, change: Revision) -> EntryRecord:
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
    (outcome,) = revise_all(tx, [(entry_id, change)])
    if isinstance(outcome, FinialError):
        raise outcome
    return outcome


def revise_all(tx: Tx, wanted: Sequence[tuple[str, Revision]]) -> list[EntryRecord | FinialError]:
    """Change entries, one after the other; each result is the new record, or why there is none, in order.

    Args:
        tx: The transaction.
        wanted: Ids, each with what becomes of its entry; see `revise`.
    """
    outcomes: list[EntryRecord | FinialError] = []
    run: dict[str, Revision] = {}
    for entry_id, change in wanted:
        if entry_id in run:  # it is to see what the one before has made of the entry
            outcomes += _revise_run(tx, run)
            run = {}
        run[entry_id] = change
    return outcomes + _revise_run(tx, run)


def get(tx: Tx, entry_id: str) -> EntryRecord:
    """The entry with this id.

    Raises:
        MissingError: There is none.
    """
    for record in present(tx.sql, [entry_id]):
        return record
    raise _missing(entry_id)


def remove(tx: Tx, entry_id: str) -> None:
    """Delete an entry.

    Raises:
        MissingError: There is none.
    """
    if not remove_all(tx, [entry_id]):
        raise _missing(entry_id)


def remove_all(tx: Tx, ids: Sequence[str]) -> frozenset[str]:
    """Delete entries; the ids of those that were there."""
    found = {record.id: record for record in _found(tx, ids)}
    numbers = [record.seq for record in found.values()]
    for at in range(0, len(numbers), _MAX_ASKED):
        tx.sql.execute(delete(ENTRIES).where(ENTRIES.c.seq.in_(numbers[at : at + _MAX_ASKED])))
    for record in found.values():
        tx.changed(ChangeKind.ENTRY, record.id, None, revision=record.revision)
    return frozenset(found)


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
    remove_all(tx, ids)
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


def _missing(entry_id: str) -> MissingError:
    return MissingError("entry not found", subject=entry_id)


def _found(tx: Tx, ids: Sequence[str]) -> Iterator[EntryRecord]:
    for at in range(0, len(ids), _MAX_ASKED):
        yield from present(tx.sql, ids[at : at + _MAX_ASKED])


@dataclass(frozen=True, slots=True)
class _Draft:
    """An entry as it was and as it is to be."""

    old: EntryRecord
    before: RegistrationEntry
    entry: RegistrationEntry
    digest: bytes


def _revise_run(tx: Tx, wanted: Mapping[str, Revision]) -> list[EntryRecord | FinialError]:
    olds = {record.id: record for record in _found(tx, tuple(wanted))}
    drafts = [_draft(entry_id, olds.get(entry_id), change) for entry_id, change in wanted.items()]
    good = [draft for draft in drafts if isinstance(draft, _Draft)]
    taken = _taken(tx, [draft.digest for draft in good], [])
    known = _known_domains(tx, [draft.entry for draft in good])
    outcomes: list[EntryRecord | FinialError] = []
    rows: list[dict[str, object]] = []
    for draft in drafts:
        outcome = _revised(draft, taken, known) if isinstance(draft, _Draft) else draft
        outcomes.append(outcome)
        if isinstance(draft, _Draft) and isinstance(outcome, EntryRecord):
            rows.append({"row": outcome.seq, **_row(outcome, draft.digest)})
            tx.changed(ChangeKind.ENTRY, outcome.id, outcome, revision=outcome.revision)
    if rows:
        tx.sql.execute(_UPDATE, rows)
    for draft, outcome in zip(drafts, outcomes, strict=True):
        if isinstance(draft, _Draft) and isinstance(outcome, EntryRecord):
            _refederate(tx, draft)
    return outcomes


def _draft(entry_id: str, old: EntryRecord | None, change: Revision) -> _Draft | FinialError:
    if old is None:
        return _missing(entry_id)
    before = registry.decode_entry(old.data)
    try:
        changed = change(before)
    except FinialError as error:
        return error
    entry = replace(changed, id=before.id, created_at=before.created_at, revision=before.revision + 1)
    return _Draft(old, before, entry, similarity(entry))


def _revised(
    draft: _Draft, taken: dict[bytes | str, EntryRecord], known: frozenset[str]
) -> EntryRecord | StoreError:
    """The new record; `taken` is what the database will say when it is written."""
    other = taken.get(draft.digest)
    others: dict[bytes | str, EntryRecord] = {}
    if other is not None and other.id != draft.old.id:
        others[draft.digest] = other
    error = _refusal(draft.entry, draft.digest, others, known)
    if error is not None:
        return error
    record = _new_record(draft.entry)
    record.seq = draft.old.seq
    was = similarity(draft.before)
    if (held := taken.get(was)) is not None and held.id == record.id:
        del taken[was]
    taken[draft.digest] = record
    return record


def _refederate(tx: Tx, draft: _Draft) -> None:
    if draft.before.federates_with != draft.entry.federates_with:
        tx.sql.execute(delete(FEDERATIONS).where(FEDERATIONS.c.entry == draft.old.seq))
        _insert_federations(tx, [(draft.old.seq, draft.entry)])


def _taken(tx: Tx, digests: Sequence[bytes], ids: Sequence[str]) -> dict[bytes | str, EntryRecord]:
    """What is there already, by digest and by id."""
    found: dict[bytes | str, EntryRecord] = {}
    for at in range(0, len(digests), _MAX_ASKED):
        part = slice(at, at + _MAX_ASKED)
        for row in tx.sql.execute(_SAME, {"digests": digests[part], "ids": ids[part]}):
            record = _record(row, {})  # nobody asks these for their domains
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
        parent_id=sys.intern(entry.parent_id.text),  # many entries have the same
        data=kept.data,
        masked=kept.masked,
        revision=entry.revision,
        created_at=int(entry.created_at.timestamp()),
        expires_at=0 if entry.expires_at is None else int(entry.expires_at.timestamp()),
        admin=entry.admin,
        downstream=entry.downstream,
        federates=_domains(domain.name for domain in entry.federates_with),
    )


def _row(record: EntryRecord, digest: bytes) -> dict[str, object]:
    return {"digest": digest, **{name: getattr(record, name) for name in _STORED}}


def _record(row: Sequence[Any], federated: Mapping[int, tuple[str, ...]]) -> EntryRecord:
    """The entry in a row, whose columns are those of the table in their order."""
    seq, entry_id, _, spiffe_id, parent_id, data, masked, revision, created, expires, admin, downstream = row
    return EntryRecord(
        seq=seq,
        id=entry_id,
        spiffe_id=spiffe_id,
        parent_id=sys.intern(parent_id),  # many entries have the same
        data=data,
        masked=masked,
        revision=revision,
        created_at=created,
        expires_at=expires,
        admin=admin,
        downstream=downstream,
        federates=federated.get(seq, ()),
    )


def _federated(rows: Iterable[Row[tuple[object, ...]]]) -> dict[int, tuple[str, ...]]:
    """The foreign trust domains that entries name, by row number."""
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row.entry, []).append(row.trust_domain)
    return {number: _domains(names) for number, names in found.items()}


def _domains(names: Iterable[str]) -> tuple[str, ...]:
    """Names, of which memory has one copy however many entries have them."""
    return tuple(map(sys.intern, names))

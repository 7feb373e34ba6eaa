"""The store's whole content, read once at the start."""

from __future__ import annotations

from dataclasses import dataclass

from finial.core.errors import FinialError
from finial.server.store import bundles, changelog, database, entries, errors, nodes
from finial.server.store.errors import StoreError
from finial.server.store.records import BundleRecord, EntryRecord, NodeRecord
from finial.server.store.transaction import Tx


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Entries, nodes and bundles as one transaction saw them.

    Args:
        entries: In the order of creation.
        nodes: In the order of first attestation.
        bundles: The own one and foreign ones.
        position: Of the last change in the log that is in there.
        epoch: Of the database; positions of another one mean nothing.
    """

    entries: tuple[EntryRecord, ...]
    nodes: tuple[NodeRecord, ...]
    bundles: tuple[BundleRecord, ...]
    position: int
    epoch: str


def read(tx: Tx) -> Snapshot:
    """Read everything.

    Raises:
        StoreError: A row cannot be read, so the file was damaged or written by something else.
    """
    try:
        return Snapshot(
            tuple(entries.all_entries(tx.sql)),
            tuple(nodes.all_nodes(tx.sql)),
            tuple(bundles.all_bundles(tx.sql)),
            changelog.position(tx.sql),
            database.epoch(tx.sql),
        )
    except StoreError:
        raise
    except (FinialError, ValueError, TypeError) as error:
        raise StoreError(errors.DAMAGED, f"the database holds a row that cannot be read: {error}") from error

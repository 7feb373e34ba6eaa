"""Large registries for the measurements: created by the API, or, at SPIRE, multiplied in its database.

SPIRE's server takes minutes to create what ours takes seconds for. What it does with a hundred thousand
entries is measured all the same: some thousand are created by its API, and their rows are copied while it is
stopped, each with a new id and a SPIFFE ID of its own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from bench.kernel import Meter
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.statuses import error_of
from support.site import ServerDaemon

BATCH = 50
_CALL = timedelta(seconds=60)
_COUNT = "SELECT count(*), max(id) FROM registered_entries"
_UUID = "lower(hex(randomblob(16)))"


@dataclass(frozen=True)
class Created:
    """What it cost to create entries.

    Args:
        rate: A second.
        last_rate: Of the last tenth of them.
        cpu_ms: Of the server, for each.
    """

    rate: float
    last_rate: float
    cpu_ms: float


def requests(server: ServerDaemon, count: int, parents: int) -> list[entry_pb.BatchCreateEntryRequest]:
    """Batches of entries, spread over so many parents."""
    control = server.control
    entries = [
        control.entry(
            f"/ns/prod/workload/{at}",
            parent=f"/spire/agent/join_token/node-{at % parents}",
            selectors=[f"unix:uid:{10_000 + at}", f"unix:path:/usr/bin/program-{at}"],
        )
        for at in range(count)
    ]
    return [
        entry_pb.BatchCreateEntryRequest(entries=entries[at : at + BATCH]) for at in range(0, count, BATCH)
    ]


async def create(server: ServerDaemon, batches: Sequence[entry_pb.BatchCreateEntryRequest]) -> Created:
    """Create them, one call after another."""
    count = sum(len(batch.entries) for batch in batches)
    tenth = max(len(batches) // 10, 1)
    meter = Meter(server.pid)
    times = []
    for batch in batches:
        method = entry_pb.Entry.BatchCreateEntry
        reply = await server.control.channel.unary(method, batch, timeout=_CALL)
        times.append(time.perf_counter())
        for each in reply.results:
            error = error_of(each.status)
            if error is not None:
                raise error
    seconds, last = meter.seconds, times[-1] - times[-tenth - 1] if len(times) > tenth else meter.seconds
    return Created(count / seconds, tenth * BATCH / last, 1000 * meter.cpu / count)


def multiply(server: ServerDaemon, count: int) -> None:
    """Make so many entries of those in the database of a SPIRE server that is stopped."""
    path = server.folder / "data" / "datastore.sqlite3"
    with closing(sqlite3.connect(path)) as database, database:
        there, step = database.execute(_COUNT).fetchone()
        for copy in range(1, count // there):
            shift = copy * step
            changed = {"id": f"id + {shift}", "entry_id": _UUID, "spiffe_id": f"spiffe_id || '/{copy}'"}
            _copy(database, "registered_entries", changed, there)
            changed = {"id": "NULL", "registered_entry_id": f"registered_entry_id + {shift}"}
            _copy(database, "selectors", changed, step)


def _copy(database: sqlite3.Connection, table: str, changed: dict[str, str], first: int) -> None:
    """Copy the first rows of a table, some columns changed."""
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    taken = ", ".join(changed.get(column, f'"{column}"') for column in columns)
    key = "id" if table == "registered_entries" else "registered_entry_id"
    # Names of the schema and numbers of ours; nothing that comes from anywhere else.
    database.execute(f"INSERT INTO {table} SELECT {taken} FROM {table} WHERE {key} <= ?", (first,))  # noqa: S608

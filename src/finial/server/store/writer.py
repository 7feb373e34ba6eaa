"""One thread that runs all SQL, and commits what is waiting as one transaction.

The loop only awaits. A unit of work is a synchronous function; it runs in a savepoint of its own, so that one
that is refused takes nothing else with it. Its changes go into the log in the same transaction, and it is
answered when they are durable and the index has applied them. An index that cannot apply a change is worth
nothing any more: then nobody is answered, and `watch` ends the server.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import PoolProxiedConnection

from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.store import database, errors
from finial.server.store.errors import StoreError
from finial.server.store.records import Change, ChangeKind, Record
from finial.server.store.schema import CHANGES

_log = logging.getLogger("finial.server")

T = TypeVar("T")

Apply = Callable[[Sequence[Change]], None]

MAX_UNITS = 256  # of one transaction: bounds how long the first of them waits for the last


class Tx:
    """A transaction, as a unit of work sees it.

    Args:
        connection: Of SQLAlchemy, in a transaction.
        now: Unix seconds at the beginning of the transaction.
    """

    def __init__(self, connection: Connection, now: int) -> None:
        self.sql = connection
        self.now = now
        self.changes: list[Change] = []

    def changed(self, kind: ChangeKind, key: str, record: Record | None, *, revision: int = 0) -> None:
        """Say what is so from this transaction on, for the log and for the index."""
        self.changes.append(Change(kind, key, record, revision))


@dataclass(slots=True)
class _Unit(Generic[T]):
    work: Callable[[Tx], T]
    future: asyncio.Future[T]
    result: T | None = None
    error: BaseException | None = None
    changes: list[Change] = field(default_factory=list)


class Store:
    """The database behind its thread.

    Args:
        engine: Opened by `database.open_engine`.
        server: Names this server in the log.
        clock: Dates the log.
    """

    def __init__(self, engine: Engine, *, server: str, clock: Clock) -> None:
        self.server = server
        self._engine = engine
        self._clock = clock
        self._apply: Apply = _nobody
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Unit[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="finial-store", daemon=True)
        # Both are the thread's.
        self._connection: Connection | None = None
        self._held: PoolProxiedConnection | None = None
        self._closed = False
        self._broken: Exception | None = None  # why nobody is answered any more; written on the loop
        self._failed = asyncio.Event()

    def start(self, apply: Apply) -> None:
        """Begin to work.

        Args:
            apply: Called on the loop with the changes of each transaction, before anybody is answered.
        """
        self._apply = apply
        self._thread.start()

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run a unit of work; what it did is durable, and in the index, when this returns.

        A caller that is cancelled meanwhile does not take the unit back.

        Raises:
            StoreError: The database cannot be used, or what was done is not certain.
            FinialError: Whatever the unit raised; nothing that it did is kept.
        """
        if self._closed:
            raise StoreError(errors.CLOSED, "the store is closed")
        if self._broken is not None:
            raise _diverged(self._broken)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Unit(work, future))
        return await future

    async def watch(self) -> None:
        """Return never.

        Raises:
            StoreError: The index is no longer what the database says, so nobody may be answered from it.
        """
        await self._failed.wait()
        assert self._broken is not None
        raise _diverged(self._broken)

    async def close(self) -> None:
        """Finish what is waiting and close the database."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        self._engine.dispose()

    # In the thread.

    def _run(self) -> None:
        open_ = True
        while open_:
            units, open_ = self._next_batch()
            if units:
                self._commit(units)
                try:
                    self._loop.call_soon_threadsafe(self._deliver, units)
                except RuntimeError:
                    open_ = False  # the loop is gone, and with it whoever waited
        self._hang_up()
        if self._held is not None:
            self._held.close()

    def _next_batch(self) -> tuple[list[_Unit[Any]], bool]:
        units: list[_Unit[Any]] = []
        unit = self._queue.get()
        while True:
            if unit is None:
                return units, False
            units.append(unit)
            if len(units) == MAX_UNITS:
                return units, True
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                return units, True

    def _commit(self, units: list[_Unit[Any]]) -> None:
        try:
            connection = self._connect()
            with connection.begin():
                for unit in units:
                    self._run_unit(connection, unit)
                self._append_log(connection, units)
        except BaseException as error:  # noqa: BLE001 - everybody who waits is told, whatever happened
            self._hang_up()
            told = _failure(error)
            _log.error(
                "the database did not take a transaction",
                extra=fields(error=told.message, units=len(units), next_step=told.reason.hint),
            )
            for unit in units:
                unit.error = _failure(error)
                unit.changes = []

    def _run_unit(self, connection: Connection, unit: _Unit[Any]) -> None:
        tx = Tx(connection, int(self._clock.now().timestamp()))
        savepoint = connection.begin_nested()
        try:
            unit.result = unit.work(tx)
            savepoint.commit()
            unit.changes = tx.changes
        except DBAPIError as error:
            if not isinstance(error, IntegrityError):
                raise  # the disk or the file: nothing of this transaction can be relied on
            savepoint.rollback()
            unit.error = _failure(error)
        except BaseException as error:  # noqa: BLE001 - the unit's own affair, a panic in Rust included
            savepoint.rollback()
            unit.error = _portable(error)

    def _append_log(self, connection: Connection, units: list[_Unit[Any]]) -> None:
        now = int(self._clock.now().timestamp())
        rows = [
            {
                "server": self.server,
                "kind": change.kind.value,
                "key": change.key,
                "revision": change.revision,
                "at": now,
            }
            for unit in units
            for change in unit.changes
        ]
        if rows:
            connection.execute(insert(CHANGES), rows)

    def _connect(self) -> Connection:
        if self._held is None:
            self._held = database.hold(self._engine)
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _hang_up(self) -> None:
        """Drop the connection: after an error of the disk its state is not worth finding out.

        The file stays held, so that what failed and was answered as failed does not come back.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:  # noqa: BLE001 - it is given up in any case
                _log.debug("closing the database connection: %s", error)

    # On the loop.

    def _deliver(self, units: list[_Unit[Any]]) -> None:
        changes = [change for unit in units for change in unit.changes]
        if changes and self._broken is None:
            try:
                self._apply(changes)
            except Exception as error:  # noqa: BLE001 - whatever it is, the index is not to be relied on
                _log.exception("the index cannot apply a change")
                self._broken = error
                self._failed.set()
        for unit in units:
            if unit.future.done():
                continue
            refusal = unit.error if self._broken is None else _diverged(self._broken)
            if refusal is not None:
                unit.future.set_exception(refusal)
            else:
                unit.future.set_result(unit.result)


def _nobody(changes: Sequence[Change]) -> None:
    """The index, before there is one."""


def _failure(error: BaseException) -> StoreError:
    if isinstance(error, IntegrityError):
        made = StoreError(errors.EXISTS, "another write came first")
    else:
        cause = error.orig if isinstance(error, DBAPIError) else error
        made = StoreError(errors.UNAVAILABLE, f"the database did not take the write: {cause}")
    made.__cause__ = error
    return made


def _diverged(cause: Exception) -> StoreError:
    made = StoreError(errors.DIVERGED, "the index is not what the database says")
    made.__cause__ = cause
    return made


def _portable(error: BaseException) -> BaseException:
    """What a future can hold: it refuses StopIteration, and others would end the task that awaits it."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    made = RuntimeError(f"a unit of work ended by {type(error).__name__}")
    made.__cause__ = error
    return made

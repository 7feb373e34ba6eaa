"""One thread that runs all SQL, and commits what is waiting as one transaction.

The loop only awaits. A unit of work is a synchronous function; it runs in a savepoint of its own, so that one
that is refused takes nothing else with it. Its changes go into the log in the same transaction, and it is
answered when they are durable and the index has applied them. An index that cannot apply a change is worth
nothing any more: then nobody is answered, and `watch` ends the server.

Other servers may write to the same database. The numbers that the log gives to our changes show whether one
has: then what it has changed is read in the same transaction, and applied before our own changes are. Changes
of our own are found in the same way when their commit was answered by an error and took place all the same.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import PoolProxiedConnection

from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.store import changelog, database, errors, snapshot
from finial.server.store.errors import StoreError
from finial.server.store.records import Change
from finial.server.store.snapshot import Snapshot
from finial.server.store.transaction import Tx

__all__ = ["MAX_UNITS", "Apply", "Reload", "Store", "Tx"]

_log = logging.getLogger("finial.server")

T = TypeVar("T")

Apply = Callable[[Sequence[Change], int], None]
"""Takes what has changed, and the number of the last row of the log that this covers."""
Reload = Callable[[Snapshot], None]
"""Takes everything as it is now, when it is not known any more what has changed."""

MAX_UNITS = 256  # of one transaction: bounds how long the first of them waits for the last


@dataclass(slots=True)
class _Unit(Generic[T]):
    work: Callable[[Tx], T]
    future: asyncio.Future[T]
    follows: bool = False
    result: T | None = None
    error: BaseException | None = None
    changes: list[Change] = field(default_factory=list)
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far the index has, or will have, the log."""

    epoch: str
    position: int


@dataclass(frozen=True, slots=True)
class _News:
    """What the index has to be told after a transaction, changes or everything; and how far that goes."""

    cursor: _Cursor
    changes: Sequence[Change] = ()
    whole: Snapshot | None = None


class Store:
    """The database behind its thread.

    Args:
        engine: Opened by `database.open_engine`.
        server: Names this server in the log.
        clock: Dates the log.
        alone: Whether no other server writes to the database, as with an SQLite file in a locked folder.
    """

    def __init__(self, engine: Engine, *, server: str, clock: Clock, alone: bool = True) -> None:
        self.server = server
        self.alone = alone
        self._engine = engine
        self._clock = clock
        self._apply: Apply = _nobody
        self._reload: Reload = _nothing
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Unit[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="finial-store", daemon=True)
        # These are the thread's.
        self._cursor: _Cursor | None = None
        self._doubtful = False  # whether a transaction that was answered by an error may have taken place
        self._connection: Connection | None = None
        self._held: PoolProxiedConnection | None = None
        self._closed = False
        self._broken: Exception | None = None  # why nobody is answered any more; written on the loop
        self._failed = asyncio.Event()

    def start(self, apply: Apply, reload: Reload) -> None:
        """Begin to work. The first unit has to be the one that reads the snapshot; changes count from there.

        Args:
            apply: Called on the loop with the changes of each transaction, before anybody is answered.
            reload: Called instead when the log no longer has all that has changed.
        """
        self._apply, self._reload = apply, reload
        self._thread.start()

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run a unit of work; what it did is durable, and in the index, when this returns.

        A caller that is cancelled meanwhile does not take the unit back.

        Raises:
            StoreError: The database cannot be used, or what was done is not certain.
            FinialError: Whatever the unit raised; nothing that it did is kept.
        """
        return await self._do(work)

    async def follow(self) -> None:
        """Return when the index has what other servers had written by now.

        Raises:
            StoreError: The database cannot be used.
        """
        await self._do(_only_read, follows=True)

    async def _do(self, work: Callable[[Tx], T], *, follows: bool = False) -> T:
        if self._closed:
            raise StoreError(errors.CLOSED, "the store is closed")
        if self._broken is not None:
            raise _diverged(self._broken)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Unit(work, future, follows))
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
                news = self._commit(units)
                try:
                    self._loop.call_soon_threadsafe(self._deliver, units, news)
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

    def _commit(self, units: list[_Unit[Any]]) -> _News | None:
        """Run units in a transaction; what the index is to be told of it, if anything."""
        try:
            connection = self._connect()
            with connection.begin():
                cursor = self._cursor or _Cursor(database.epoch(connection), changelog.position(connection))
                for unit in units:
                    self._run_unit(connection, unit)
                    if unit.epoch is not None:
                        cursor = replace(cursor, epoch=unit.epoch)
                news = self._look(connection, units, cursor)
            self._cursor, self._doubtful = (cursor if news is None else news.cursor), False
            return news
        except BaseException as error:  # noqa: BLE001 - everybody who waits is told, whatever happened
            self._doubtful = True
            self._hang_up()
            told = _failure(error)
            _log.error(
                "the database did not take a transaction",
                extra=fields(error=told.message, units=len(units), next_step=told.reason.hint),
            )
            for unit in units:
                unit.error = _failure(error)
            return None

    def _run_unit(self, connection: Connection, unit: _Unit[Any]) -> None:
        tx = Tx(connection, int(self._clock.now().timestamp()))
        savepoint = connection.begin_nested()
        try:
            unit.result = unit.work(tx)
            savepoint.commit()
            unit.changes, unit.epoch = tx.changes, tx.epoch
        except DBAPIError as error:
            if not isinstance(error, IntegrityError):
                raise  # the disk or the file: nothing of this transaction can be relied on
            savepoint.rollback()
            unit.error = _failure(error)
        except BaseException as error:  # noqa: BLE001 - the unit's own affair, a panic in Rust included
            savepoint.rollback()
            unit.error = _portable(error)

    def _look(self, connection: Connection, units: list[_Unit[Any]], cursor: _Cursor) -> _News | None:
        """Log what the units have changed, and find what others have since our cursor."""
        own = [change for unit in units for change in unit.changes]
        now = int(self._clock.now().timestamp())
        if own:
            first, last = changelog.append(connection, own, server=self.server, now=now)
            if first == cursor.position + 1:
                return _News(_Cursor(cursor.epoch, last), own)
        elif self._doubtful or any(unit.follows for unit in units):
            last = changelog.position(connection)
            first = last + 1
        else:
            return None
        reached = _Cursor(database.epoch(connection), last)
        if reached == cursor:
            return None
        # A log that has become shorter is that of a database that was put back while we run.
        lost = reached.epoch != cursor.epoch or first <= cursor.position
        if lost or changelog.pruned(connection) > cursor.position:
            return _News(reached, whole=snapshot.read(Tx(connection, now)))
        known = {(change.kind, change.key) for change in own}
        others = changelog.between(connection, cursor.position, first, known=known)
        return _News(reached, [*others, *own])

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

    def _deliver(self, units: list[_Unit[Any]], news: _News | None) -> None:
        if news is not None and self._broken is None:
            self._tell(news)
        for unit in units:
            if unit.future.done():
                continue
            refusal = unit.error if self._broken is None else _diverged(self._broken)
            if refusal is not None:
                unit.future.set_exception(refusal)
            else:
                unit.future.set_result(unit.result)

    def _tell(self, news: _News) -> None:
        try:
            if news.whole is not None:
                _log.warning(
                    "the log of changes has not all that has happened, so everything was read again",
                    extra=fields(position=news.cursor.position),
                )
                self._reload(news.whole)
            else:
                self._apply(news.changes, news.cursor.position)
        except Exception as error:  # noqa: BLE001 - whatever it is, the index is not to be relied on
            _log.exception("the index cannot apply a change")
            self._broken = error
            self._failed.set()


def _nobody(changes: Sequence[Change], position: int) -> None:
    """The index, before there is one."""


def _nothing(snapshot: Snapshot) -> None:
    """The index, before there is one."""


def _only_read(_: Tx) -> None:
    """Change nothing."""


def _failure(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        made = StoreError(error.reason, error.message, subject=error.subject)
    elif isinstance(error, IntegrityError):
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

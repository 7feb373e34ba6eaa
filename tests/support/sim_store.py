"""A real store whose thread and loop take turns, so that what happens is the same each time."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from finial.runtime.chance import Chance
from finial.server.store import database
from finial.server.store.writer import Apply, Reload, Store
from support.sim_clock import SimClock
from support.sim_truth import DOMAIN, History

_DIE = object()
_PATIENCE = 30.0  # seconds; reached only by a bug


class _KilledError(BaseException):
    """The server's process ends."""


class _Turns(queue.SimpleQueue[Any]):
    """The queue before a store's thread: whoever puts something in waits until the thread is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self._idle = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._idle.clear()
        super().put(item)
        if self._open.is_set():
            self.wait()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if self.empty():
            self._idle.set()
        item = super().get(block, timeout)
        self._open.wait(_PATIENCE)
        return _alive(item)

    def get_nowait(self) -> Any:
        return _alive(super().get_nowait())

    def wait(self) -> None:
        """Return when the thread has nothing to do."""
        assert self._idle.wait(_PATIENCE), "the store's thread hangs"

    def die(self) -> None:
        super().put(_DIE)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the thread find all that is put in meanwhile at once."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()
            if not self.empty():
                self.wait()


def _alive(item: Any) -> Any:
    if item is _DIE:
        raise _KilledError
    return item


class SimStore(Store):
    """A store over a real file.

    Args:
        path: Of the file.
        history: Is told of each transaction, before its commit.
        clock: The simulation's.
        chance: Draws the epoch of a new database.
        server: Names this server.
        alone: Whether no other server has the file.
    """

    def __init__(
        self,
        path: Path,
        history: History,
        *,
        clock: SimClock,
        chance: Chance,
        server: str,
        alone: bool,
    ) -> None:
        engine = database.open_engine(path)
        database.prepare(engine, path, DOMAIN, chance=chance)
        super().__init__(engine, server=server, clock=clock, alone=alone)

        @event.listens_for(engine, "commit")
        def _committing(connection: Connection) -> None:
            history.note(connection.connection.driver_connection)  # type: ignore[arg-type]  # sqlite3's

        self._turns = _Turns()
        self._queue = self._turns

    def start(self, apply: Apply, reload: Reload) -> None:
        super().start(apply, reload)
        self._turns.wait()

    def _run(self) -> None:
        with contextlib.suppress(_KilledError):
            super()._run()

    def together(self) -> AbstractContextManager[None]:
        """A block whose units are one transaction."""
        return self._turns.held()

    def kill(self) -> None:
        """End it as the end of its process would."""
        self._turns.die()
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()
        self._hang_up()
        if self._held is not None:
            self._held.close()
        self._engine.dispose()

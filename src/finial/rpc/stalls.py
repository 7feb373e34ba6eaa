"""Peers that do not take what is sent to them: noticed by looking now and then at what is still queued.

A peer decides by its flow-control windows what may be sent, so one that opens none, or reads nothing, makes
us keep every answer to it. A look costs nothing between looks but one counter for each stream, and there are
none while nothing is queued.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from finial.core.errors import FinialError
from finial.rpc.engine import EngineError
from finial.rpc.errorcode import ErrorCode
from finial.rpc.status import RpcError, StatusCode
from finial.rpc.stream import Stream

if TYPE_CHECKING:
    from finial.rpc.connection import Connection


class Stalls:
    """Those of one connection.

    Args:
        connection: Whose streams are looked at, each time that its `Limits.send_timeout` has passed.
    """

    __slots__ = ("_connection", "_seen", "_timer", "_written")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None
        self._written = 0
        # Of each stream with something queued at the last look: bytes gone, and what has to go by the next.
        self._seen: dict[int, tuple[int, int]] = {}

    def watch(self) -> None:
        """Something has been queued."""
        time = self._connection.limits.send_timeout
        if self._timer is None and time is not None:
            self._written = self._connection.written_bytes
            self._timer = self._connection.loop.call_later(time.total_seconds(), self.look)

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Judge what was queued at the last look, and note what is queued now."""
        self._timer = None
        connection = self._connection
        moved = connection.written_bytes - self._written
        stalled = self._stalled()
        if not moved and (stalled or connection.paused):
            connection.fail(EngineError("nothing that is sent is taken", ErrorCode.ENHANCE_YOUR_CALM))
            if connection.paused:
                connection.abort()  # it would not even take the reason
            return
        # Where the line itself is what is slow, streams wait for each other, and each is given time.
        if not connection.paused or moved < connection.limits.send_high_water_bytes:
            try:
                for stream in stalled:
                    stream.end(RpcError(StatusCode.UNAVAILABLE, "too little of what is sent is taken"))
                    stream.give_up(ErrorCode.ENHANCE_YOUR_CALM)
            except FinialError as error:
                connection.fail(error)
                return
        if self._seen or connection.paused:
            self.watch()

    def _stalled(self) -> list[Stream]:
        connection, before, stalled = self._connection, self._seen, []
        self._seen = {}
        for stream_id, stream in connection.streams.items():
            queued = connection.engine.queued(stream_id)
            if queued:
                gone = stream.queued_bytes - queued
                self._seen[stream_id] = gone, min(queued, connection.limits.send_high_water_bytes)
                was_gone, due = before.get(stream_id, (gone, 0))
                if gone - was_gone < due:
                    stalled.append(stream)
        return stalled

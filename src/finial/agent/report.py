"""What a subscribed agent tells its server of itself: how far entries have come, and what rests on whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from finial.agent import pages
from finial.agent.book import Book
from finial.agent.node import Node
from finial.agent.progress import Progress
from finial.runtime.clock import Clock
from finial.wire.gen import finial_api_server_push_v1 as push_pb

_TOGETHER: Final = timedelta(milliseconds=50)
_AT_ONCE: Final = 1_000  # steps
# Servers take in a thousand steps a second; what is sent beyond that would hold up acknowledgements.
_PER_STEP: Final = timedelta(milliseconds=1.2)

Send = Callable[[push_pb.SubscribeRequest], Awaitable[None]]


class Reporter:
    """Knows what there is to report.

    Args:
        node: The agent's own SVID counts among those that rest on an authority.
        book: Counts the others.
        progress: Keeps what has happened to entries.
        clock: Time.
    """

    def __init__(self, node: Node, book: Book, progress: Progress, *, clock: Clock) -> None:
        self._node = node
        self._book = book
        self._progress = progress
        self._clock = clock

    def listen(self, *, on: bool) -> None:
        """Begin to keep what happens to entries, or stop and forget it."""
        self._progress.listen(on=on)

    def look(self) -> None:
        """A change is in force, so that other SVIDs may be held."""
        self._progress.look()

    async def run(self, send: Send) -> None:
        """Report to one call, beginning with what rests on whom.

        Args:
            send: To the server; raises when the call has ended.
        """
        told: Mapping[str, int] = {}
        while True:
            resting = self._resting()
            steps = self._progress.take(_AT_ONCE)
            if steps or resting != told:
                await send(pages.report(steps, {} if resting == told else resting))
                told = resting
            await self._clock.sleep(max(_TOGETHER, _PER_STEP * len(steps)))
            await self._progress.some.wait()

    def _resting(self) -> Mapping[str, int]:
        """Authority id to SVIDs, the agent's own among them."""
        counts = dict(self._book.resting)
        authority = self._node.authority
        if authority is not None and authority.subject_key_id is not None:
            name = authority.subject_key_id.hex()
            counts[name] = counts.get(name, 0) + 1
        return counts

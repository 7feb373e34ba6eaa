"""A workload's open stream from a real agent, and all that came on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Self

from finial.core.x509path import verify_x509
from finial.runtime.clock import SystemClock
from finial.sdk import Revoked, Updated, WorkloadClient, X509Context

_PATIENCE = 30.0  # seconds; reached only by a bug

News = Updated[X509Context] | Revoked


class Stream:
    """This process as a workload that watches; `async with` is as long as it watches.

    Args:
        socket: Of the agent.
    """

    def __init__(self, socket: Path) -> None:
        self.news: list[News] = []
        self._socket = socket
        self._client = WorkloadClient(f"unix://{socket}")
        self._changed = asyncio.Condition()
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()

    async def _follow(self) -> None:
        try:
            async with aclosing(self._client.watch_x509()) as watched:
                async for each in watched:
                    async with self._changed:
                        self.news.append(each)
                        self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._failure = error
        async with self._changed:
            self._changed.notify_all()

    @property
    def ids(self) -> tuple[str, ...]:
        """Who this process is by the last news; nobody before there is any."""
        last = self.news[-1] if self.news else None
        return tuple(svid.id.text for svid in last.value.svids) if isinstance(last, Updated) else ()

    @property
    def serial(self) -> int:
        """Of the first SVID now."""
        last = self.news[-1]
        assert isinstance(last, Updated)
        return last.value.svid.leaf.serial

    @property
    def revocations(self) -> int:
        """How often it was told that it is nobody any more; not counted is that it was nobody yet."""
        kinds = [type(each) for each in self.news]
        return kinds[kinds.index(Updated) :].count(Revoked) if Updated in kinds else 0

    async def identified(self, *ids: str) -> None:
        """Wait until this process is these, and no others; what it got is verified."""
        await self._until(lambda: sorted(self.ids) == sorted(ids), f"to be {ids}")
        last = self.news[-1]
        assert isinstance(last, Updated)
        for svid in last.value.svids:
            verify_x509([each.der for each in svid.certificates], last.value, now=SystemClock().now())

    async def rotated(self, serial: int) -> None:
        """Wait until the first SVID has another serial number."""
        await self._until(lambda: bool(self.ids) and self.serial != serial, "another SVID")

    async def revoked(self) -> Revoked:
        """Wait until there is no identity any more; the word of the agent."""
        await self._until(lambda: bool(self.news) and isinstance(self.news[-1], Revoked), "no identity")
        last = self.news[-1]
        assert isinstance(last, Revoked)
        return last

    async def _until(self, so: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE), self._changed:
                while not so():
                    assert self._failure is None, self._failure
                    await self._changed.wait()
        except TimeoutError:
            seen = f"it has {self.ids} after {[type(each).__name__ for each in self.news]}"
            raise AssertionError(f"{self._socket}: waited in vain for {what}; {seen}") from None

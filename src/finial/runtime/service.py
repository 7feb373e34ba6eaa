"""Services under one owner: they run until the process is told to stop, or until one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def run_until(stop: asyncio.Event, services: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run services until told to stop; then, or when one has failed, all are cancelled and waited for.

    Args:
        stop: Set when they are to end.
        services: Each runs for ever, or ends because its work is done.

    Raises:
        Exception: What the first service that failed raised.
    """
    tasks = [asyncio.ensure_future(service) for service in services]
    told = asyncio.ensure_future(stop.wait())
    waiting: set[asyncio.Future[Any]] = {told, *tasks}
    try:
        while not told.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in (told, *tasks):
            task.cancel()
        await asyncio.gather(told, *tasks, return_exceptions=True)

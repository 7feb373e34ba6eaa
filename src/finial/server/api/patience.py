"""Waits on a peer, each with its end: nobody may hold a call open by saying nothing, or by not reading."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock

T = TypeVar("T")


async def within(clock: Clock, most: timedelta, work: Coroutine[Any, Any, T]) -> T:
    """What some work that waits on a peer comes to.

    Args:
        clock: Measures.
        most: How long it may take; then it is cancelled.
        work: Does not catch its cancellation.

    Raises:
        RpcError: DEADLINE_EXCEEDED, it took longer.
    """
    task, timer = asyncio.ensure_future(work), asyncio.ensure_future(clock.sleep(most))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            message = f"the peer kept the server waiting for more than {most.total_seconds():g} s"
            raise RpcError(StatusCode.DEADLINE_EXCEEDED, message)
        return task.result()
    finally:
        task.cancel()
        timer.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)

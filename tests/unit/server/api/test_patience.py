"""Waits on a peer end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from finial.rpc import RpcError, StatusCode
from finial.server.api.patience import within
from support.clock import ManualClock, settle

MINUTE = timedelta(minutes=1)


async def _ready() -> str:
    return "here"


async def _fails() -> None:
    raise LookupError("its own error")


def test_what_is_there_in_time_is_passed_on() -> None:
    clock = ManualClock()
    assert asyncio.run(within(clock, MINUTE, _ready())) == "here"
    with pytest.raises(LookupError, match="its own error"):
        asyncio.run(within(clock, MINUTE, _fails()))


@pytest.mark.parametrize("how", ["late", "caller gone"])
def test_nothing_of_it_stays_behind(how: str) -> None:
    async def main() -> None:
        clock = ManualClock()
        ended = asyncio.Event()

        async def silent() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.create_task(within(clock, MINUTE, silent()))
        await settle()
        if how == "late":
            await clock.advance(MINUTE)
            with pytest.raises(RpcError, match="waiting for more than 60 s") as caught:
                await task
            assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert ended.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())

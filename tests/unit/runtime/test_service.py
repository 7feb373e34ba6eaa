"""Services under one owner: all end when told, or when one fails."""

from __future__ import annotations

import asyncio

import pytest

from finial.runtime.service import run_until


def test_services_run_until_told_to_stop() -> None:
    async def main() -> list[str]:
        stop, seen = asyncio.Event(), list[str]()

        async def forever() -> None:
            try:
                seen.append("began")
                await asyncio.Event().wait()
            finally:
                seen.append("ended")

        async def brief() -> None:
            seen.append("brief")
            stop.set()

        await run_until(stop, [forever(), brief()])
        return seen

    assert asyncio.run(main()) == ["began", "brief", "ended"]


def test_one_that_fails_ends_all_and_says_why() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def broken() -> None:
            raise ValueError("this one")

        with pytest.raises(ValueError, match="this one"):
            await run_until(asyncio.Event(), [forever(), broken()])
        assert ended.is_set()

    asyncio.run(main())


def test_a_cancelled_owner_takes_its_services_with_it() -> None:
    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def forever() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.create_task(run_until(asyncio.Event(), [forever()]))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())

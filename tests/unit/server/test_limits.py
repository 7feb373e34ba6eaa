"""Limits: callers wait for their turn, and are refused when that is hopeless."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from finial.rpc.status import RpcError, StatusCode
from finial.server.api.chain import Caller
from finial.server.limits import Limiter
from finial.server.policy import Role
from support.clock import ManualClock

SECOND = timedelta(seconds=1)


def _caller(address: str = "192.0.2.1", role: Role = Role.ANY) -> Caller:
    return Caller(role, address)


def test_each_address_waits_for_its_own_turn() -> None:
    async def main() -> None:
        clock = ManualClock()
        limiter = Limiter(1, clock=clock)
        done: list[str] = []

        async def call(name: str, address: str) -> None:
            await limiter.wait(_caller(address))
            done.append(name)

        tasks = [asyncio.create_task(call(f"a{n}", "192.0.2.1")) for n in range(3)]
        tasks.append(asyncio.create_task(call("b", "192.0.2.2")))
        await clock.advance(timedelta(0))
        assert done == ["a0", "b"]
        await clock.advance(SECOND)
        assert done == ["a0", "b", "a1"]
        await clock.advance(SECOND)
        assert done == ["a0", "b", "a1", "a2"]
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_too_many_at_once_are_refused_at_once() -> None:
    limiter = Limiter(500, clock=ManualClock())
    with pytest.raises(RpcError, match=r"rate \(501\) exceeds burst size \(500\)") as caught:
        asyncio.run(limiter.wait(_caller(), 501))
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_a_hopeless_wait_is_refused_and_takes_no_turn() -> None:
    async def main() -> None:
        clock = ManualClock()
        limiter = Limiter(1, clock=clock)
        tasks = [asyncio.create_task(limiter.wait(_caller())) for _ in range(61)]
        await clock.advance(timedelta(0))
        with pytest.raises(RpcError, match="too many calls are waiting"):
            await limiter.wait(_caller())
        await clock.advance(60 * SECOND)
        await asyncio.gather(*tasks)
        await clock.advance(SECOND)
        await limiter.wait(_caller())

    asyncio.run(main())


def test_local_callers_are_exempt() -> None:
    limiter = Limiter(1, clock=ManualClock())
    asyncio.run(limiter.wait(_caller(role=Role.LOCAL), 1000))


def test_memory_is_bounded_whatever_addresses_come() -> None:
    async def main() -> None:
        clock = ManualClock()
        limiter = Limiter(1, clock=clock)
        for number in range(10_100):
            await limiter.wait(_caller(f"address {number}"))
        assert len(limiter._buckets) <= 10_000
        await clock.advance(2 * SECOND)
        await limiter.wait(_caller("one more"))
        assert len(limiter._buckets) == 1

    asyncio.run(main())

"""Limits: callers wait for their turn, and are refused when that is hopeless."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest

from finial.rpc.status import RpcError, StatusCode
from finial.server import limits
from finial.server.api.chain import Caller
from finial.server.limits import Limiter
from finial.server.policy import Role
from support.clock import ManualClock, settle

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
        with pytest.raises(RpcError, match="too many calls of this address"):
            await limiter.wait(_caller())
        await clock.advance(60 * SECOND)
        await asyncio.gather(*tasks)
        await clock.advance(SECOND)
        await limiter.wait(_caller())

    asyncio.run(main())


def test_local_callers_are_exempt() -> None:
    limiter = Limiter(1, clock=ManualClock())
    asyncio.run(limiter.wait(_caller(role=Role.LOCAL), 1000))


def test_memory_is_bounded_and_who_asked_last_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_ADDRESSES", 3)

    async def main() -> None:
        limiter = Limiter(1, clock=ManualClock())
        for number in range(10):
            for address in ("often", f"address {number}"):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await limiter.wait(_caller(address))
        assert list(limiter._buckets) == ["address 8", "often", "address 9"]

    asyncio.run(main())


def test_whoever_gives_up_takes_nothing() -> None:
    async def main() -> None:
        clock = ManualClock()
        limiter = Limiter(1, clock=clock)
        await limiter.wait(_caller())
        tasks = [asyncio.create_task(limiter.wait(_caller())) for _ in range(50)]
        await clock.advance(timedelta(0))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await clock.advance(SECOND)
        async with asyncio.timeout(0):
            await limiter.wait(_caller())

    asyncio.run(main())


def test_only_so_many_calls_of_one_address_wait() -> None:
    async def main() -> None:
        clock = ManualClock()
        limiter = Limiter(500, clock=clock)
        await limiter.wait(_caller(), 500)
        tasks = [asyncio.create_task(limiter.wait(_caller())) for _ in range(128)]
        await clock.advance(timedelta(0))
        with pytest.raises(RpcError, match="too many calls of this address") as caught:
            await limiter.wait(_caller())
        assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
        await limiter.wait(_caller("192.0.2.2"))
        await clock.advance(SECOND)
        await asyncio.gather(*tasks)
        await limiter.wait(_caller())

    asyncio.run(main())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("[2001:db8::1]", "[2001:db8::2:3]", True),
        ("[2001:db8::1]", "[2001:db8:0:1::1]", False),
        ("[::ffff:192.0.2.1]", "192.0.2.1", True),
        ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.2]", False),
        ("[fe80::1%eth0]", "[fe80::2%eth0]", True),
        ("[odd]", "[odd]", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_host_has_one_bucket_however_many_addresses_it_has(one: str, other: str, same: bool) -> None:
    async def main() -> None:
        limiter = Limiter(1, clock=ManualClock())
        await limiter.wait(_caller(one))
        second = asyncio.create_task(limiter.wait(_caller(other)))
        await settle()
        assert second.done() is not same
        second.cancel()

    asyncio.run(main())

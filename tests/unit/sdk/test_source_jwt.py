"""The live source for JWT-SVIDs against a fake Workload API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from finial.core.errors import FinialError, TokenVerifyError
from finial.rpc import RpcError, StatusCode
from finial.sdk import JWTSnapshot, JWTSource, SourceError, WorkloadClient
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.clock import FixedChance, ManualClock, settle
from support.fake_workload import FakeWorkloadAPI, Feed, jwt_keys, jwts, key_set, one_jwt, serving
from support.rpc import eventually, run

KEYS = key_set(tokens.authority("k1")[0])
BOTH = jwt_keys(a=KEYS, b=KEYS)
FOREIGN = tokens.jwt(sub="spiffe://b.test/x")
DENIED = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")


@dataclass
class Following:
    """A source that follows a fake Workload API."""

    api: FakeWorkloadAPI
    source: JWTSource
    clock: ManualClock

    async def push(self, message: pb.JWTBundlesResponse | RpcError | None) -> JWTSnapshot:
        change = asyncio.ensure_future(self.source.updated())
        await settle()
        assert self.api.jwt_bundles is not None
        self.api.jwt_bundles.push(message)
        return await change


@asynccontextmanager
async def following(*answers: pb.JWTBundlesResponse | RpcError | None) -> AsyncIterator[Following]:
    api, clock = FakeWorkloadAPI(jwt=jwts(one_jwt()), jwt_bundles=Feed([*answers])), ManualClock(tokens.NOW)
    async with (
        serving(api) as address,
        WorkloadClient(address, clock=clock, chance=FixedChance(1.0)) as client,
        JWTSource(client, clock=clock) as source,
    ):
        yield Following(api, source, clock)


def test_tokens_out_and_tokens_in() -> None:
    async def main() -> None:
        async with following(BOTH) as it:
            mine = await it.source.fetch(tokens.AUDIENCE)
            assert mine.id.text == forge.WEB
            found = it.source.validate(mine.token, "x", tokens.AUDIENCE)
            assert found.id == mine.id
            assert it.source.validate(FOREIGN, tokens.AUDIENCE).id.text == "spiffe://b.test/x"
            with pytest.raises(TokenVerifyError):
                it.source.validate(mine.token, "x")
            it.clock.jump(timedelta(seconds=301))
            with pytest.raises(TokenVerifyError):
                it.source.validate(mine.token, tokens.AUDIENCE)
            it.source.validate(mine.token, tokens.AUDIENCE, leeway=timedelta(seconds=30))

    run(main())


def test_each_fetch_asks_the_agent() -> None:
    async def main() -> None:
        async with following(BOTH) as it:
            await it.source.fetch(tokens.AUDIENCE, spiffe_id=forge.WEB)
            it.api.jwt = jwts(one_jwt(hint="x"))
            assert (await it.source.fetch(tokens.AUDIENCE, hint="x")).hint == "x"
            assert it.api.calls == 3

    run(main())


def test_keys_that_are_redacted_are_gone() -> None:
    async def main() -> None:
        seen: list[JWTSnapshot] = []
        async with following(BOTH) as it:
            it.source.on_update(seen.append)
            snapshot = await it.push(jwt_keys(a=KEYS))
            assert snapshot is it.source.snapshot
            assert snapshot.bundles is it.source.bundles
            with pytest.raises(TokenVerifyError, match="no federation with trust domain b.test"):
                it.source.validate(FOREIGN, tokens.AUDIENCE)
            await it.push(DENIED)
            assert it.api.jwt_bundles is not None
            it.api.jwt_bundles.answers = [BOTH]
            with pytest.raises(FinialError, match="no identity issued"):
                it.source.validate(tokens.jwt(), tokens.AUDIENCE)
            change = asyncio.ensure_future(it.source.updated())
            await settle()
            await it.clock.advance(timedelta(seconds=1))
            await change
            it.source.validate(FOREIGN, tokens.AUDIENCE, leeway=timedelta(minutes=1))
        assert [each.bundles is None for each in seen] == [False, True, False, True]
        with pytest.raises(SourceError, match="not open"):
            _ = it.source.bundles

    run(main())


def test_entering_waits_for_an_entry_that_comes_later() -> None:
    async def main() -> None:
        api, clock = FakeWorkloadAPI(jwt_bundles=Feed([DENIED])), ManualClock()
        async with (
            serving(api) as address,
            WorkloadClient(address, clock=clock, chance=FixedChance(1.0)) as client,
        ):
            source = JWTSource(client)
            entering = asyncio.ensure_future(source.__aenter__())
            await eventually(lambda: api.calls == 1)
            api.jwt_bundles.answers = [BOTH]  # type: ignore[union-attr]
            while not entering.done():
                await clock.advance(timedelta(seconds=30))
                await asyncio.wait([entering], timeout=0.01)
            assert forge.A in (await entering).bundles
            await source.__aexit__(None, None, None)

    run(main())


def test_entering_gives_up_with_the_last_problem() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(jwt_bundles=Feed([DENIED]))
        async with serving(api) as address:
            source = JWTSource(address=address, patience=timedelta(milliseconds=50))
            with pytest.raises(SourceError, match="no bundle for JWT-SVIDs arrived within 0.05 s: "):
                await source.__aenter__()

    run(main())

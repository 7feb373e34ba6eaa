"""SVIDs that rest on an authority which has not been pushed: the own bundle is fetched at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from finial.rpc import RpcError, StatusCode
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import Denial, denied
from support.agent_world import ME, Agent, Stream, World, ids, served, stream
from support.fake_push import item, mark, total
from support.rpc import run


@asynccontextmanager
async def rotated() -> AsyncIterator[tuple[World, Agent, Stream, types.Bundle]]:
    """An agent whose server signs with an authority that is not pushed; and the bundle that was."""
    async with served(pushes=True) as (w, running), stream(w, running) as caller:
        await caller.next()
        before = w.server.push.bundles()["example.org"]
        w.server.active = w.server.prepare()
        yield w, running, caller, before


async def tell(w: World, entry: types.Entry, before: types.Bundle) -> None:
    """Push an entry, as a server does that does not know of the new authority."""
    state = w.server.push.state()
    state.bundles = total([mark(before)]).digest
    await w.within(w.server.push.last.change(entries=[item(entry)], state=state))


def test_the_bundle_is_fetched_and_keeps_its_place() -> None:
    async def main() -> None:
        async with rotated() as (w, _, caller, before):
            await tell(w, w.server.add("e2", "/db", ME, created_at=2_000), before)
            assert ids(await caller.next()) == ["/web", "/db"]
            assert w.server.calls["GetBundle"] == 1
            # What was on its way is older, and takes nothing away.
            push, state = w.server.push, w.server.push.state()
            state.bundles = total([mark(before)]).digest
            await w.within(push.last.change(bundles=[before], state=state))
            await caller.quiet()
            w.server.prepare()
            await w.within(push.last.change(bundles=push.bundles().values()))
            assert len((await caller.next()).svids) == 2
            assert push.streams == [push.last]
            assert w.server.calls["GetBundle"] == 1

    run(main())


def test_an_older_bundle_is_of_no_use() -> None:
    async def main() -> None:
        async with rotated() as (w, _, caller, before):
            newer, w.server.sequence = w.server.sequence, 0
            await tell(w, w.server.add("e2", "/db", ME, created_at=2_000), before)
            await w.eventually(lambda: w.server.calls["GetBundle"] >= 2)
            w.server.sequence = newer
            assert ids(await caller.next()) == ["/web", "/db"]

    run(main())


def test_another_epoch_takes_its_own_bundle_whatever_was_fetched() -> None:
    async def main() -> None:
        async with rotated() as (w, _, caller, before):
            await tell(w, w.server.add("e2", "/db", ME, created_at=2_000), before)
            assert ids(await caller.next()) == ["/web", "/db"]
            push = w.server.push
            push.epoch = "epoch-2"
            w.server.revoke(w.server.published[1])
            w.server.active, w.server.sequence = w.server.published[0], 0
            await w.within(push.last.change(bundles=push.bundles().values()))
            again = await caller.next()
            while len(again.svids) < 2:
                again = await caller.next()
            assert again.svids[0].bundle == w.server.published[0].certificate.der

    run(main())


def test_a_bundle_that_cannot_be_had_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with rotated() as (w, _, caller, before):
            w.server.errors_once["GetBundle"] = RpcError(StatusCode.UNAVAILABLE, "not now")
            await tell(w, w.server.add("e2", "/db", ME, created_at=2_000), before)
            assert ids(await caller.next()) == ["/web", "/db"]
            assert w.server.calls["GetBundle"] == 2

    run(main())
    assert "the bundle cannot be had" in [each.message for each in caplog.records]


def test_a_ban_that_this_call_meets_is_a_ban() -> None:
    async def main() -> None:
        async with rotated() as (w, running, caller, before):
            w.server.errors["GetBundle"] = denied(Denial.AGENT_BANNED, "banned")
            await tell(w, w.server.add("e2", "/db", ME, created_at=2_000), before)
            assert (await caller.end()).code is StatusCode.PERMISSION_DENIED
            assert (await running.end()).reason.id == "agent-banned"

    run(main())

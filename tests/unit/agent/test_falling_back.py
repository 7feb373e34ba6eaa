"""Servers that do not push, or do so no more, or again."""

from __future__ import annotations

from datetime import timedelta

from finial.rpc import RpcError, StatusCode
from support.agent_world import ME, Agent, World, ids, joined, on_pushed, pushed_again, stream, world
from support.fake_push import PushStream
from support.rpc import run

SECOND = timedelta(seconds=1)


async def restart(w: World, *, pushes: bool) -> None:
    await w.server.stop()
    w.server.pushes = pushes
    await w.server.start()


@on_pushed
async def test_a_server_that_pushes_no_more_is_polled(w: World, running: Agent) -> None:
    async with stream(w, running) as caller:
        await caller.next()
        await restart(w, pushes=False)
        w.server.add("e2", "/db", ME, created_at=2_000)
        assert ids(await caller.next()) == ["/web", "/db"]
        assert w.server.calls["SyncAuthorizedEntries"] == 1
        polled = w.server.calls["SyncAuthorizedEntries"]
        await w.pass_time(30 * SECOND)
        assert 5 <= w.server.calls["SyncAuthorizedEntries"] - polled <= 7
        w.server.add("e1", "/web", ME, hint="h")
        await caller.next()
        await restart(w, pushes=True)
        begun = w.clock.monotonic()
        await pushed_again(w, 2)
        assert w.clock.monotonic() - begun <= 6  # at the next round, since the connection is another one
        assert not w.server.push.last.hello.HasField("state")  # what was pushed before counts no longer
        polled = w.server.calls["SyncAuthorizedEntries"]
        del w.server.entries["e1"]
        w.server.push.tell()
        assert ids(await caller.next()) == ["/db"]
        assert w.server.calls["SyncAuthorizedEntries"] == polled


def test_push_is_tried_every_minute() -> None:
    async def main() -> None:
        async with world(pushes=True) as w:
            w.server.errors["Subscribe"] = RpcError(StatusCode.UNIMPLEMENTED, "not yet")
            async with joined(w, sync_interval=timedelta(minutes=10)):
                assert w.server.calls["Subscribe"] == 1
                assert w.server.calls["SyncAuthorizedEntries"] == 1
                await w.pass_time(130 * SECOND)
                assert w.server.calls["Subscribe"] == 3
                assert w.server.calls["SyncAuthorizedEntries"] == 1  # rounds come when they come
                w.server.errors.clear()
                await pushed_again(w, 1)
                assert w.server.calls["SyncAuthorizedEntries"] == 1

    run(main())


def test_an_older_server_that_leaves_each_connection_is_polled_all_the_same() -> None:
    async def main() -> None:
        async with world(pushes=True) as w:
            w.server.add("e1", "/web", ME)

            async def older(_: PushStream) -> None:
                await w.server.send_away()
                raise RpcError(StatusCode.UNIMPLEMENTED, "an older server")

            w.server.push.script = older
            async with joined(w) as running, stream(w, running) as caller:
                assert ids(await caller.next()) == ["/web"]
                before = w.server.calls["Subscribe"]
                await w.pass_time(30 * SECOND)
                assert w.server.calls["Subscribe"] - before <= 8
                assert 5 <= w.server.calls["SyncAuthorizedEntries"] <= 9

    run(main())


def test_polling_comes_back_soon_after_an_outage() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with (
                joined(w, sync_interval=timedelta(minutes=10)) as running,
                stream(w, running) as caller,
            ):
                await caller.next()
                await w.server.stop()
                await w.pass_time(timedelta(minutes=20), timedelta(seconds=5))
                await w.server.start()
                w.server.add("e2", "/db", ME, created_at=2_000)
                begun = w.clock.monotonic()
                assert ids(await caller.next()) == ["/web", "/db"]
                assert w.clock.monotonic() - begun <= 16

    run(main())


def test_polling_comes_back_soon_when_any_call_goes_well() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(minutes=30)) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w, sync_interval=timedelta(minutes=1)) as running, stream(w, running) as caller:
                await caller.next()
                w.server.errors["SyncAuthorizedEntries"] = RpcError(StatusCode.PERMISSION_DENIED, "for now")
                await w.eventually(lambda: w.server.calls["SyncAuthorizedEntries"] == 5, SECOND)
                w.server.errors.clear()
                w.server.add("e2", "/db", ME, created_at=2_000)
                renewed = w.server.calls["RenewAgent"]
                await w.eventually(lambda: w.server.calls["RenewAgent"] > renewed, SECOND)
                begun = w.clock.monotonic()
                assert ids(await caller.next()) == ["/web", "/db"]
                assert w.clock.monotonic() - begun <= 2

    run(main())


def test_a_server_that_is_polled_may_ask_for_a_pause() -> None:
    async def main() -> None:
        async with world(svid_ttl=timedelta(seconds=20)) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w):
                busy = RpcError(StatusCode.UNAVAILABLE, "busy", retry_after=timedelta(seconds=40))
                w.server.errors_once["SyncAuthorizedEntries"] = busy
                await w.eventually(lambda: not w.server.errors_once)
                asked, signed = w.server.calls["SyncAuthorizedEntries"], len(w.server.batches)
                await w.pass_time(timedelta(seconds=38))
                assert len(w.server.batches) > signed  # other calls go well
                assert w.server.calls["SyncAuthorizedEntries"] == asked
                await w.pass_time(timedelta(seconds=4))
                assert w.server.calls["SyncAuthorizedEntries"] > asked

    run(main())

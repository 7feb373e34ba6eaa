"""What an agent makes of a server that pushes, message by message."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from finial.rpc import RpcError, StatusCode
from finial.wire.gen import finial_api_server_push_v1 as pb
from finial.wire.gen import workload
from finial.wire.statuses import Denial, denied
from support.agent_world import ME, Agent, World, ids, joined, on_pushed, served, stream, world
from support.fake_push import PushStream, item, mark
from support.rpc import run

BUNDLES = workload.SpiffeWorkloadAPI.FetchX509Bundles


async def applied(w: World, number: int) -> None:
    """The newest stream has acknowledged a change."""
    await w.eventually(lambda: number in w.server.push.last.applied)


@on_pushed
async def test_a_change_reaches_a_workload_at_once(w: World, running: Agent) -> None:
    async with stream(w, running) as caller:
        assert ids(await caller.next()) == ["/web"]
        begun = w.clock.monotonic()
        w.server.add("e2", "/db", ME, created_at=2_000)
        w.server.push.tell()
        assert ids(await caller.next()) == ["/web", "/db"]
        del w.server.entries["e1"]
        w.server.push.tell()
        assert ids(await caller.next()) == ["/db"]
        assert w.clock.monotonic() - begun <= 1.5
        assert not w.server.calls["SyncAuthorizedEntries"]
        assert not w.server.calls["GetBundle"]
        assert w.server.calls["Subscribe"] == 1


@on_pushed
async def test_an_agent_that_holds_nothing_says_so(w: World, running: Agent) -> None:
    (only,) = w.server.push.streams
    assert not only.hello.HasField("state")
    assert only.hello.version.startswith("finial ")
    assert only.applied == [1]
    w.server.push.beat()
    await applied(w, 2)
    assert w.server.calls["Subscribe"] == 1


@on_pushed
async def test_a_heartbeat_is_taken_and_not_acknowledged(w: World, running: Agent) -> None:
    (only,) = w.server.push.streams
    w.server.push.seq += 1
    await only.heartbeat()
    w.server.push.beat()
    await applied(w, 2)
    assert only.applied == [1, 2]
    # What is held is what it was, and the agent has noted how far the log is.
    w.server.push.seq += 1
    await only.heartbeat()
    held = w.server.push.state()
    w.server.push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
    await w.eventually(lambda: len(w.server.push.streams) == 2)
    assert w.server.push.last.hello.state == held


@on_pushed
async def test_a_difference_that_a_heartbeat_tells_of_is_repaired(w: World, running: Agent) -> None:
    wrong = w.server.push.state()
    wrong.digest = bytes(16)
    await w.server.push.last.send(state=wrong)
    await w.eventually(lambda: len(w.server.push.streams) == 2)
    await applied(w, 1)
    assert w.server.push.streams[0].applied == [1]
    assert w.server.push.last.hello.state == w.server.push.state()


@on_pushed
async def test_what_is_held_is_not_sent_again(w: World, running: Agent) -> None:
    w.server.push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
    await w.eventually(lambda: len(w.server.push.streams) == 2)
    await applied(w, 1)
    assert w.server.push.last.hello.state == w.server.push.state()
    assert w.server.push.last.held_pages == []


@on_pushed
async def test_all_that_is_held_is_told_when_it_has_to_be_compared(w: World, running: Agent) -> None:
    lazy = {"additional_attributes": {"disable_x509_svid_prefetch": True}}
    for number in range(4_100):
        w.server.add(f"n{number}", f"/n/{number}", "unix:uid:424242", **lazy)
    w.server.add("useless", "/none")
    w.server.push.tell()
    await applied(w, 2)
    w.server.push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
    del w.server.entries["n7"]
    w.server.add("n8", "/n/8", "unix:uid:424242", hint="h", **lazy)
    w.server.add("e2", "/db", ME, created_at=2_000)
    w.server.push.seq += 3
    await w.eventually(lambda: len(w.server.push.streams) == 2)
    await applied(w, 1)
    assert w.server.push.last.held_pages == [2_000, 2_000, 102, -1]
    assert w.server.push.last.hello.state.count == 4_102
    async with stream(w, running) as caller:
        assert ids(await caller.next()) == ["/web", "/db"]
    w.server.push.beat()
    await applied(w, 2)
    assert w.server.calls["Subscribe"] == 2  # the sums were right


@on_pushed
async def test_an_agent_without_entries_compares_too(w: World, running: Agent) -> None:
    del w.server.entries["e1"]
    w.server.push.tell()
    await applied(w, 2)
    w.server.push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
    w.server.add("e2", "/db", ME)
    await w.eventually(lambda: len(w.server.push.streams) == 2)
    await applied(w, 1)
    assert w.server.push.last.held_pages == [0, -1]


@on_pushed
async def test_nothing_of_a_change_is_in_force_before_its_last_page(w: World, running: Agent) -> None:
    only = w.server.push.last
    async with stream(w, running) as caller:
        await caller.next()
        foreign = w.server.federate("b.test")
        entry = w.server.add("e2", "/db", ME, created_at=2_000, federates_with=["b.test"])
        await only.send(entries=[item(entry)], more=True)
        await only.send(gone=["never-held"], more=True)
        await caller.quiet(timedelta(seconds=3))
        assert only.applied == [1]
        change = asyncio.ensure_future(only.change(bundles=[w.server.foreign["b.test"]]))
        message = await caller.next()
        assert ids(message) == ["/web", "/db"]
        assert dict(message.federated_bundles) == {"spiffe://b.test": foreign.x509_authorities[0].der}
        await w.within(change)


@on_pushed
async def test_bundles_come_change_and_go(w: World, running: Agent) -> None:
    w.server.federate("b.test")
    w.server.add("e1", "/web", ME, federates_with=["b.test"])
    w.server.push.tell()
    await applied(w, 2)
    async with stream(w, running, BUNDLES) as caller:
        assert set((await caller.next()).bundles) == {"spiffe://example.org", "spiffe://b.test"}
        newer = w.server.federate("b.test").x509_authorities[0].der
        w.server.push.tell()
        assert (await caller.next()).bundles["spiffe://b.test"] == newer
        prepared = w.server.prepare()
        w.server.push.tell()
        assert prepared.certificate.der in (await caller.next()).bundles["spiffe://example.org"]
        del w.server.foreign["b.test"]
        w.server.push.tell()
        assert set((await caller.next()).bundles) == {"spiffe://example.org"}


@on_pushed
async def test_a_foreign_bundle_that_is_none_leaves_the_last_good_one(w: World, running: Agent) -> None:
    good = w.server.federate("b.test").x509_authorities[0].der
    w.server.add("e1", "/web", ME, federates_with=["b.test"])
    w.server.push.tell()
    await applied(w, 2)
    w.server.foreign["b.test"].x509_authorities[0].asn1 = b"\x30\x03junk"
    w.server.add("e2", "/db", ME, created_at=2_000, federates_with=["c.test"])
    w.server.foreign["c.test"] = w.server.foreign["b.test"].__class__(trust_domain="c.test", refresh_hint=-1)
    w.server.push.tell()
    await applied(w, 3)
    async with stream(w, running, BUNDLES) as caller:
        bundles = (await caller.next()).bundles
        assert bundles["spiffe://b.test"] == good
        assert "spiffe://c.test" not in bundles
    w.server.push.beat()
    await applied(w, 4)
    assert w.server.calls["Subscribe"] == 1  # what cannot be read is counted all the same


@on_pushed
async def test_useless_entries_are_skipped_and_counted(w: World, running: Agent) -> None:
    w.server.federate("b.test")
    w.server.add("e2", "/none", federates_with=["b.test", "NOT A DOMAIN"])
    w.server.add("e3", "/bad", "unix:")
    w.server.foreign["NOT A DOMAIN"] = w.server.foreign["b.test"].__class__(trust_domain="NOT A DOMAIN")
    w.server.push.tell()
    await applied(w, 2)
    w.server.push.beat()
    await applied(w, 3)
    assert w.server.batches == [1]
    assert w.server.calls["Subscribe"] == 1


@on_pushed
async def test_what_happens_to_entries_is_reported(w: World, running: Agent) -> None:
    last = w.server.push.last
    signed = ("e1", 0, pb.Progress.SIGNED)
    await w.eventually(lambda: signed in last.progress)
    async with stream(w, running) as caller:
        await caller.next()
        await w.eventually(lambda: ("e1", 0, pb.Progress.DELIVERED) in last.progress)
    w.server.unsigned.add("e2")
    w.server.add("e2", "/db", ME)
    w.server.push.tell()
    await w.eventually(lambda: ("e2", 0, pb.Progress.FAILED) in last.progress)
    failed = [each for report in last.reports for each in report.progress if each.stage == pb.Progress.FAILED]
    assert "entry not found" in failed[0].trouble
    assert not w.server.calls["GetBundle"]  # that would not help
    assert all(not report.progress or len(report.progress) <= 1_000 for report in last.reports)


@on_pushed
async def test_what_rests_on_which_authority_is_reported(w: World, running: Agent) -> None:
    def authority(at: int) -> str:
        key_id = w.server.published[at].certificate.subject_key_id
        assert key_id is not None
        return key_id.hex()

    last = w.server.push.last
    await w.eventually(lambda: last.resting == {authority(0): 2})  # the agent's own, and the entry's
    w.server.add("e2", "/db", ME)
    w.server.push.tell()
    await w.eventually(lambda: last.resting == {authority(0): 3})
    told = len(last.reports)
    w.server.push.beat()
    await applied(w, 3)
    assert len(last.reports) == told  # nothing has changed
    del w.server.entries["e2"]
    w.server.push.tell()
    await w.eventually(lambda: last.resting == {authority(0): 2})
    old, w.server.active = w.server.active, w.server.prepare()
    w.server.taint(old)
    w.server.push.tell()
    await w.eventually(lambda: w.server.push.last.resting == {authority(1): 2})


@on_pushed
async def test_a_call_says_first_what_rests_on_whom(w: World, running: Agent) -> None:
    await w.eventually(lambda: bool(w.server.push.last.resting))
    told = w.server.push.last.resting
    w.server.push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
    await w.eventually(lambda: len(w.server.push.streams) == 2 and bool(w.server.push.last.reports))
    assert w.server.push.last.resting == told


def test_a_difference_in_the_sums_is_repaired(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, _):
            lie = pb.Item(mark=bytes(16), entry=w.server.entries["e1"])
            await w.server.push.last.send(number=2, entries=[lie], state=w.server.push.state())
            await w.eventually(lambda: len(w.server.push.streams) == 2)
            await applied(w, 1)
            assert w.server.push.streams[0].applied == [1]
            assert w.server.push.last.hello.HasField("state")
            assert w.server.push.last.marks == {"e1": bytes(16)}
            w.server.push.beat()
            await applied(w, 2)
            assert len(w.server.push.streams) == 2

    run(main())
    assert [each.message for each in caplog.records].count("what is held differs from the server's") == 1


@on_pushed
async def test_what_the_difference_does_not_repair_everything_does(w: World, running: Agent) -> None:
    wrong = w.server.push.state()
    wrong.digest = bytes(16)

    async def lying(told: PushStream) -> None:
        if told.hello.HasField("state"):
            await told.change(state=wrong)
        await PushStream.converse(told)

    w.server.push.script = lying
    await w.server.push.last.send(number=2, state=wrong)
    await w.eventually(lambda: len(w.server.push.streams) == 3)
    await applied(w, 1)
    assert [each.hello.HasField("state") for each in w.server.push.streams] == [False, True, False]
    assert w.server.push.last.told == {"e1": mark(w.server.entries["e1"])}


@on_pushed
async def test_a_server_whose_sums_are_never_right_is_left_in_peace(w: World, running: Agent) -> None:
    async def lying(told: PushStream) -> None:
        state = w.server.push.state()
        state.digest = bytes(16)
        await told.whole(state=state)
        while True:
            await told.dirty.wait()
            told.dirty.clear()
            await told.change(state=state)

    w.server.push.script = lying
    w.server.push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
    await w.eventually(lambda: len(w.server.push.streams) == 4)
    for number in range(1, 10):
        await applied(w, number)
        w.server.push.beat()
    assert len(w.server.push.streams) == 4
    for _ in range(260):  # a minute later it may be tried anew
        await w.tick()
    w.server.push.beat()
    await w.eventually(lambda: len(w.server.push.streams) > 4)


def test_clocks_that_differ_are_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, _):
            differences = ((29_000, 0), (-31_000, 1), (-40_000, 1), (0, 1), (31_000, 2))
            for number, (ahead, expected) in enumerate(differences, 2):
                w.server.push.clock_ahead_ms = ahead
                w.server.push.beat()
                await applied(w, number)
                noted = [each.message for each in caplog.records]
                assert noted.count("the clocks of server and agent differ") == expected

    run(main())


@on_pushed
async def test_a_ban_takes_everything_at_once(w: World, running: Agent) -> None:
    async with stream(w, running) as caller:
        await caller.next()
        w.server.push.end(denied(Denial.AGENT_BANNED, "banned"))
        told = await caller.end()
        assert told.code is StatusCode.PERMISSION_DENIED
        assert (await running.end()).reason.id == "agent-banned"


def test_an_evicted_agent_that_attests_again_is_subscribed_again() -> None:
    async def main() -> None:
        async with world(pushes=True, reattestable=True) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                (node,) = w.server.nodes
                del w.server.nodes[node]
                w.server.tokens["token-1"] = None
                w.server.push.end(denied(Denial.AGENT_NOT_ATTESTED, "evicted"))
                await w.eventually(lambda: len(w.server.push.live) == 1 and node in w.server.nodes)
                assert w.server.push.last.hello.HasField("state")
                await caller.quiet()
                assert not running.ended

    run(main())


def test_a_server_that_disowns_the_agent_behind_each_first_answer_is_not_called_in_a_rush() -> None:
    async def main() -> None:
        async with world(pushes=True, reattestable=True) as w, joined(w) as running:

            async def fickle(told: PushStream) -> None:
                await told.whole()
                w.server.tokens["token-1"] = None
                raise denied(Denial.AGENT_NOT_ATTESTED, "evicted")

            w.server.push.script = fickle
            w.server.tokens["token-1"] = None
            w.server.push.end(denied(Denial.AGENT_NOT_ATTESTED, "evicted"))
            await w.pass_time(timedelta(seconds=30))
            assert 3 <= len(w.server.push.streams) <= 12
            assert not running.ended

    run(main())

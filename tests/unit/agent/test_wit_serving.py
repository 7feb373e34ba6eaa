"""WIT-SVIDs through a whole agent, as workloads see them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from finial.core.ids import SpiffeID
from finial.rpc import RpcError, StatusCode
from finial.wire.gen import workload as pb
from support.agent_world import ME, Agent, World
from support.forge import key
from support.wit_calls import on_wits, opened, proven


@on_wits
async def test_a_workload_gets_a_token_with_its_key(w: World, running: Agent) -> None:
    async with opened(w, running) as mine:
        (svid,) = (await mine.next()).svids
        proven(w, svid)
        assert w.server.wit.asked == ["e1"]
        async with opened(w, running) as other:
            assert (await other.next_at_once()).svids == [svid]
        assert w.server.wit.asked == ["e1"]


@on_wits
async def test_it_is_renewed_with_another_key(w: World, running: Agent) -> None:
    async with opened(w, running) as mine:
        (first,) = (await mine.next()).svids
        await w.pass_time(timedelta(minutes=35), step=timedelta(minutes=1))
        (second,) = (await mine.next()).svids
        proven(w, second)
        assert second.wit_svid_key != first.wit_svid_key


@on_wits
async def test_a_key_that_is_tainted_or_revoked_takes_its_tokens_away(w: World, running: Agent) -> None:
    wit = w.server.wit
    async with opened(w, running) as mine:
        await mine.next()
        old, wit.active = wit.active, wit.prepare()
        wit.taint(old)
        (svid,) = (await mine.next()).svids
        assert proven(w, svid).authority.key_id == wit.active.key_id
        wit.revoke(old)
        await mine.quiet()


@on_wits
async def test_a_token_waits_for_the_bundle_that_proves_it(w: World, running: Agent) -> None:
    wit = w.server.wit
    wit.active = wit.prepare(published=False)
    async with opened(w, running) as mine:
        await w.eventually(lambda: wit.asked == ["e1"])
        await w.pass_time(timedelta(seconds=2))
        wit.publish(wit.active)
        (svid,) = (await mine.next()).svids
        proven(w, svid)


@on_wits
async def test_a_token_that_nothing_proves_is_not_served(w: World, running: Agent) -> None:
    wit = w.server.wit
    wit.active = wit.prepare(published=False)
    async with opened(w, running) as mine:
        error = await mine.end()
    assert error.code is StatusCode.UNAVAILABLE
    assert "no valid SVID" in error.message


@on_wits
async def test_a_token_of_another_or_for_another_key_is_not_served(w: World, running: Agent) -> None:
    for bend in (
        lambda asked: replace(asked, spiffe_id=SpiffeID("spiffe://example.org/other")),
        lambda asked: replace(asked, public_key=key("of somebody else").public_key()),
    ):
        w.server.wit.bend = bend
        async with opened(w, running) as mine:
            assert (await mine.end()).code is StatusCode.UNAVAILABLE
        await w.pass_time(timedelta(seconds=61), step=timedelta(seconds=5))


@on_wits
async def test_an_entry_that_the_server_refuses_ends_the_wait(w: World, running: Agent) -> None:
    w.server.unsigned.add("e1")
    async with opened(w, running) as mine:
        assert (await mine.end()).code is StatusCode.UNAVAILABLE
    w.server.unsigned.clear()
    await w.pass_time(timedelta(seconds=5))
    async with opened(w, running) as mine:
        proven(w, (await mine.next()).svids[0])


@on_wits
async def test_a_server_that_is_away_is_asked_again(w: World, running: Agent) -> None:
    w.server.errors["BatchNewWITSVID"] = RpcError(StatusCode.UNAVAILABLE, "away")
    async with opened(w, running) as mine:
        await w.eventually(lambda: w.server.calls["BatchNewWITSVID"] > 1)
        w.server.errors.clear()
        proven(w, (await mine.next()).svids[0])


@on_wits
async def test_what_has_ended_is_taken_away_though_there_is_no_other(w: World, running: Agent) -> None:
    async with opened(w, running) as mine, opened(w, running) as other:
        for each in (mine, other):
            await each.next()
        w.server.errors["BatchNewWITSVID"] = RpcError(StatusCode.UNAVAILABLE, "away")
        await w.pass_time(timedelta(minutes=59), step=timedelta(minutes=1))
        await mine.quiet()
        await w.pass_time(timedelta(minutes=2), step=timedelta(seconds=15))
        for each in (mine, other):
            assert (await each.end()).code is StatusCode.UNAVAILABLE


@on_wits
async def test_a_server_that_asks_to_be_left_alone_is(w: World, running: Agent) -> None:
    pause = timedelta(seconds=20)
    error = RpcError(StatusCode.RESOURCE_EXHAUSTED, "too much", retry_after=pause)
    w.server.errors_once["BatchNewWITSVID"] = error
    async with opened(w, running) as mine:
        await w.eventually(lambda: w.server.calls["BatchNewWITSVID"] == 1)
        assert (await mine.end()).code is StatusCode.UNAVAILABLE
        await w.pass_time(timedelta(seconds=10))
        assert w.server.calls["BatchNewWITSVID"] == 1
    await w.pass_time(pause)
    async with opened(w, running) as mine:
        proven(w, (await mine.next()).svids[0])


@on_wits
async def test_a_server_that_has_not_opted_in(w: World, running: Agent) -> None:
    w.server.wit.on = False
    async with opened(w, running) as mine:
        assert (await mine.end()).code is StatusCode.UNAVAILABLE
    assert 1 <= w.server.calls["BatchNewWITSVID"] < 4


@on_wits
async def test_fewer_answers_than_questions_are_no_answers(w: World, running: Agent) -> None:
    w.server.wit.fewer = True
    async with opened(w, running) as mine:
        assert (await mine.end()).code is StatusCode.UNAVAILABLE


@on_wits
async def test_many_are_signed_in_batches(w: World, running: Agent) -> None:
    for number in range(40):
        w.server.add(f"m{number}", f"/m{number}", ME)
    await w.pass_time(timedelta(seconds=6))
    async with opened(w, running) as mine:
        message = await mine.next()
        while len(message.svids) < 41:
            message = await mine.next()
    assert w.server.calls["BatchNewWITSVID"] == 2
    assert len({svid.wit_svid_key for svid in message.svids}) == 41


@on_wits
async def test_one_identity_can_be_asked_for(w: World, running: Agent) -> None:
    w.server.add("e2", "/second", ME)
    await w.pass_time(timedelta(seconds=6))
    async with opened(w, running, pb.WITSVIDRequest(spiffe_id="spiffe://example.org/second")) as mine:
        (svid,) = (await mine.next()).svids
        assert svid.spiffe_id == "spiffe://example.org/second"
    assert w.server.wit.asked == ["e2"]
    for wrong, code in (
        ("spiffe://example.org/third", StatusCode.PERMISSION_DENIED),
        ("no id", StatusCode.INVALID_ARGUMENT),
    ):
        async with opened(w, running, pb.WITSVIDRequest(spiffe_id=wrong)) as mine:
            assert (await mine.end()).code is code


@on_wits
async def test_an_entry_that_goes_ends_the_stream(w: World, running: Agent) -> None:
    async with opened(w, running) as mine:
        await mine.next()
        w.server.entries.clear()
        assert (await mine.end()).code is StatusCode.PERMISSION_DENIED

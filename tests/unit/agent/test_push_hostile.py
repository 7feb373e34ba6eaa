"""Servers that push what they must not: what is held stays, and the agent comes back for better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from finial.rpc import RpcError, StatusCode
from finial.wire.gen import finial_api_server_push_v1 as pb
from finial.wire.gen import spire_api_types as types
from support.agent_world import ME, World, ids, joined, served, stream, world
from support.fake_push import FakePush, PushStream, item, mark, total
from support.rpc import run

Message = dict[str, Any]


def entry(entry_id: str = "e2") -> types.Entry:
    return types.Entry(
        id=entry_id,
        spiffe_id=types.SPIFFEID(trust_domain="example.org", path="/db"),
        selectors=[types.Selector(type="unix", value=ME.removeprefix("unix:"))],
    )


def state(push: FakePush, **changes: Any) -> pb.State:
    found = push.state()
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def own(push: FakePush, **changes: Any) -> types.Bundle:
    found = push.bundles()["example.org"]
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def empty(push: FakePush) -> types.Bundle:
    found = own(push, sequence_number=99)
    found.ClearField("x509_authorities")
    return found


def unreadable(push: FakePush) -> types.Bundle:
    found = own(push)
    found.x509_authorities[0].asn1 = b"\x30\x03junk"
    return found


BAD: dict[str, Callable[[FakePush], Message]] = {
    "no state": lambda push: {"state": None, "gone": ["e1"]},
    "no number": lambda push: {"number": 0, "gone": ["e1"]},
    "no number, everything": lambda push: {"number": 0, "reset": True, "bundles": push.bundles().values()},
    "short digest": lambda push: {"state": state(push, digest=bytes(15)), "gone": ["e1"]},
    "no digest": lambda push: {"state": state(push, digest=b""), "gone": ["e1"]},
    "long digest of bundles": lambda push: {"state": state(push, bundles=bytes(17)), "gone": ["e1"]},
    "no epoch": lambda push: {"state": state(push, epoch=""), "gone": ["e1"]},
    "an earlier position": lambda push: {"state": state(push, seq=push.seq - 1), "gone": ["e1"]},
    "a short mark": lambda push: {"entries": [pb.Item(mark=bytes(15), entry=entry())], "gone": ["e1"]},
    "no mark": lambda push: {"entries": [pb.Item(entry=entry())], "gone": ["e1"]},
    "no id": lambda push: {"entries": [item(entry(""))], "gone": ["e1"]},
    "no entry": lambda push: {"entries": [pb.Item(mark=bytes(16))], "gone": ["e1"]},
    "an endless id": lambda push: {"entries": [item(entry("x" * 256))], "gone": ["e1"]},
    "no id that is gone": lambda push: {"gone": ["e1", ""]},
    "one id twice": lambda push: {"entries": [item(entry()), item(entry())], "gone": ["e1"]},
    "here and gone": lambda push: {"entries": [item(entry())], "gone": ["e1", "e2"]},
    "gone twice": lambda push: {"gone": ["e1", "e1"]},
    "own bundle gone": lambda push: {"bundles_gone": ["example.org"], "gone": ["e1"]},
    "own bundle gone by its id": lambda push: {"bundles_gone": ["spiffe://example.org"], "gone": ["e1"]},
    "own bundle empty": lambda push: {"bundles": [empty(push)], "gone": ["e1"]},
    "own bundle unreadable": lambda push: {"bundles": [unreadable(push)], "gone": ["e1"]},
    "own bundle twice": lambda push: {"bundles": [own(push), own(push)], "gone": ["e1"]},
    "nothing at all": lambda push: {"reset": True},
    "the bundle of another": lambda push: {"reset": True, "bundles": [own(push, trust_domain="b.test")]},
}


async def kept(w: World, caller: Any, streams: int) -> None:
    """Nothing of it is in force or acknowledged, and the agent has come back and is told what is so."""
    await w.eventually(lambda: len(w.server.push.streams) == streams)
    assert w.server.push.streams[0].applied == [1]
    await w.eventually(lambda: w.server.push.last.applied == [1])
    assert w.server.push.last.hello.state.count == 1
    await caller.quiet()
    w.server.add("e9", "/late", ME, created_at=9_000)
    w.server.push.tell()
    assert ids(await caller.next()) == ["/web", "/late"]


@pytest.mark.parametrize("what", BAD)
def test_what_must_not_be_pushed_is_not_taken(what: str) -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            push = w.server.push
            bad = {"number": 2, "state": push.state(), **BAD[what](push)}
            await push.last.send(**bad)
            await kept(w, caller, 2)
            assert not running.ended

    run(main())


def test_a_call_does_not_begin_with_a_heartbeat() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()

            async def hasty(told: PushStream) -> None:
                w.server.push.script = None
                await told.heartbeat()
                await told.dirty.wait()

            w.server.push.script = hasty
            w.server.push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
            await kept(w, caller, 3)

    run(main())


def test_what_is_compared_is_not_answered_with_a_heartbeat() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            await w.server.push.last.compare()
            await w.server.push.last.heartbeat()
            await kept(w, caller, 2)

    run(main())


def test_a_page_that_is_bad_spoils_the_whole_change() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            push = w.server.push
            await push.last.send(entries=[item(entry())], more=True)
            await push.last.send(entries=[item(entry("")), item(entry("e3"))], more=True)
            await kept(w, caller, 2)

    run(main())


def test_a_call_that_ends_well_is_lost_all_the_same() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            w.server.push.last.call.finish(None)
            await kept(w, caller, 2)

    run(main())


def test_what_is_no_message_ends_the_call() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            await w.server.push.last.call.send_encoded(b"\xff\xff\xff")
            await kept(w, caller, 2)

    run(main())


def test_an_agent_that_holds_nothing_takes_everything_or_nothing() -> None:
    async def main() -> None:
        async with world(pushes=True) as w:
            w.server.add("e1", "/web", ME)

            async def half(told: PushStream) -> None:
                if len(w.server.push.streams) < 4:
                    await told.change(entries=[item(w.server.entries["e1"])], bundles=[own(w.server.push)])
                await PushStream.converse(told)

            w.server.push.script = half
            async with joined(w) as running, stream(w, running) as caller:
                assert ids(await caller.next()) == ["/web"]
                assert [each.applied for each in w.server.push.streams] == [[], [], [], [1]]

    run(main())


def test_another_epoch_may_begin_anew() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            push = w.server.push
            push.epoch, push.seq = "epoch-2", 1
            w.server.add("e2", "/db", ME, created_at=2_000)
            push.beat()
            assert ids(await caller.next()) == ["/web", "/db"]
            push.end(RpcError(StatusCode.UNAVAILABLE, "restarting"))
            await w.eventually(lambda: len(push.streams) == 2)
            assert push.last.hello.state.epoch == "epoch-2"
            assert push.last.hello.state.seq == 1

    run(main())


def test_a_server_that_asks_for_a_comparison_in_the_middle_of_a_change_begins_anew() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            push, only = w.server.push, w.server.push.last
            await only.send(entries=[item(entry())], more=True)
            await w.within(only.compare())
            assert set(only.marks) == {"e1"}
            await w.within(only.change())
            assert push.streams == [only]
            await caller.quiet()

    run(main())


def test_the_own_bundle_may_come_under_the_id_of_its_trust_domain() -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), stream(w, running) as caller:
            await caller.next()
            push = w.server.push
            w.server.prepare()
            odd = own(push, trust_domain="spiffe://example.org")
            told = state(push, bundles=total([mark(odd)]).digest)
            await w.within(push.last.change(bundles=[odd], state=told))
            assert len((await caller.next()).svids[0].bundle) > len(w.server.published[0].certificate.der)
            assert push.streams == [push.last]

    run(main())

from __future__ import annotations

import asyncio
from datetime import timedelta

from finial.agent.audiences import Content, Watcher
from finial.agent.book import AuthorizedEntry, Book
from finial.agent.cache import Cache
from finial.agent.change import Change, Profile
from finial.agent.progress import Progress, Stage, Step
from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.core.x509svid import X509SVID
from finial.wire.gen import workload
from support import forge
from support.clock import ManualClock, settle
from support.forge import NOW, A, B
from support.rpc import run

ROOT = forge.root()
OTHER = forge.root("other")
FOREIGN = forge.bundle(B, forge.root(domain=B))
X509 = frozenset({Profile.X509})
MINE = frozenset({Selector("t", "me")})


def entry(
    entry_id: str = "e1", *values: str, federates_with: tuple[TrustDomain, ...] = (), revision: int = 0
) -> AuthorizedEntry:
    return AuthorizedEntry(
        id=entry_id,
        spiffe_id=SpiffeID(f"spiffe://a.test/{entry_id}"),
        selectors=frozenset(Selector("t", each) for each in values or ("me",)),
        federates_with=federates_with,
        revision=revision,
    )


def cache(*entries: AuthorizedEntry, progress: Progress | None = None) -> Cache:
    """A cache with these entries, all of them signed."""
    made = Cache(Book(forge.bundle(A, ROOT)), ManualClock(NOW), progress or Progress())
    made.apply(made.book.replace_entries(entries))
    for each in entries:
        sign(made, each)
    return made


def sign(
    of: Cache, entry: AuthorizedEntry, life: timedelta = timedelta(hours=1), root: forge.Made = ROOT
) -> None:
    leaf = forge.leaf(root, entry.spiffe_id.text, not_before=NOW, not_after=NOW + life)
    svid = X509SVID((leaf.certificate,), leaf.key)
    of.apply(of.book.accept(entry, svid, now=NOW, spread=0.5))


def look(of: Cache, selectors: frozenset[Selector] = MINE) -> Content:
    """What a caller that comes now is sent."""
    with of.watch() as watcher:
        return of.x509_svids(watcher, selectors)


def woken(of: Cache, watcher: Watcher, *changes: Change) -> bool:
    """Whether a watcher is told of changes; it looks again then."""
    of.apply(*changes)
    told, watcher.told = watcher.told, False
    of.x509_svids(watcher, MINE)
    return told


def unsettled(of: Cache) -> bool:
    return of.book.unsettled


# Who is told


def test_a_watcher_is_told_of_what_concerns_it_and_of_nothing_else() -> None:
    one = cache(entry("e1", federates_with=(B,)), entry("e2", "other"))
    with one.watch() as watcher:
        assert one.watchers == 1
        one.x509_svids(watcher, MINE)
        assert not woken(one, watcher, Change())
        assert not woken(one, watcher, Change(frozenset({"e2"})))
        assert woken(one, watcher, Change(frozenset({"e1"})))
        assert woken(one, watcher, Change(own_bundle=X509))
        assert woken(one, watcher, Change(domains=frozenset({(B, Profile.X509)})))
        assert not woken(one, watcher, Change(domains=frozenset({(TrustDomain("c.test"), Profile.X509)})))
        stranger, fitting = entry("e3", "me", "and more"), entry("e4")
        assert not woken(one, watcher, Change(frozenset({"e3"}), (stranger,)))
        assert woken(one, watcher, Change(), Change(frozenset({"e3", "e4"}), (stranger, fitting)))
        assert not woken(one, watcher, Change(frozenset(f"x{number}" for number in range(100))))
        assert woken(one, watcher, Change(frozenset(f"x{number}" for number in range(3_000))))
    assert one.watchers == 0


def test_whoever_was_told_sees_what_is_new() -> None:
    one = cache(entry("e1"), entry("e2", "other"))
    with one.watch() as mine, one.watch() as others:
        before = [one.x509_svids(mine, MINE), one.x509_svids(others, frozenset({Selector("t", "other")}))]
        changed = entry("e1", revision=1)
        one.apply(one.book.replace_entries([changed, entry("e2", "other"), entry("e3", "me")]))
        sign(one, entry("e3"))
        after = [one.x509_svids(mine, MINE), one.x509_svids(others, frozenset({Selector("t", "other")}))]
        assert after[1] is before[1]
        message = workload.X509SVIDResponse.FromString(after[0].message or b"")
        assert [each.spiffe_id for each in message.svids] == ["spiffe://a.test/e1", "spiffe://a.test/e3"]


def test_an_entry_that_a_hint_hid_comes_when_the_other_one_goes() -> None:
    older = AuthorizedEntry(
        id="e1", spiffe_id=SpiffeID("spiffe://a.test/e1"), selectors=MINE, hint="h", created_at=1
    )
    younger = AuthorizedEntry(
        id="e2", spiffe_id=SpiffeID("spiffe://a.test/e2"), selectors=MINE, hint="h", created_at=2
    )
    one = cache(older, younger)
    with one.watch() as watcher:
        one.x509_svids(watcher, MINE)
        assert not woken(one, watcher, Change(frozenset({"e2"})))  # it shows nothing of it
        assert woken(one, watcher, one.book.change_entries([], ["e1"]))
        (shown,) = workload.X509SVIDResponse.FromString(one.x509_svids(watcher, MINE).message or b"").svids
        assert shown.spiffe_id == "spiffe://a.test/e2"


def test_a_caller_that_becomes_another_is_told_of_what_concerns_it_then() -> None:
    one = cache(entry("e1"), entry("e2", "other"))
    with one.watch() as watcher:
        one.x509_svids(watcher, MINE)
        one.x509_svids(watcher, frozenset({Selector("t", "other")}))
        one.apply(Change(frozenset({"e1"})))
        assert not watcher.told
        one.apply(Change(frozenset({"e2"})))
        assert watcher.told


def test_many_are_told_in_slices_and_few_at_once() -> None:
    async def main() -> None:
        one = cache(entry("e1"), entry("e2", "lone"))
        watchers = [one.watch() for _ in range(100)]
        for watcher in watchers:
            one.x509_svids(watcher, MINE)
        lone = one.watch()
        one.x509_svids(lone, frozenset({Selector("t", "lone")}))
        seen = []
        one.apply(Change(own_bundle=X509))
        one.apply(Change(frozenset({"e2"})))  # meanwhile
        assert lone.told
        while not all(watcher.told for watcher in watchers):
            before = sum(watcher.told for watcher in watchers)
            await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
            seen.append(sum(watcher.told for watcher in watchers) - before)
        assert max(seen) <= 25
        assert len(seen) >= 4

    run(main())


def test_whoever_waits_is_woken() -> None:
    async def main() -> None:
        one = cache(entry())
        with one.watch() as watcher:
            one.x509_svids(watcher, MINE)
            waiting = asyncio.ensure_future(asyncio.wait_for(watcher.news(), 10))
            await settle()
            assert not waiting.done()
            one.apply(Change(frozenset({"e1"})))
            one.apply(Change(frozenset({"e1"})))
            await waiting
            await asyncio.wait_for(watcher.news(), 10)  # it has not looked since

    run(main())


def test_what_a_bundle_puts_in_question_is_settled_in_slices_and_meanwhile_for_who_asks() -> None:
    async def main() -> None:
        entries = [entry(f"e{number:03}", f"v{number}") for number in range(200)]
        one = Cache(Book(forge.bundle(A, ROOT, OTHER)), ManualClock(NOW), Progress())
        one.apply(one.book.replace_entries(entries))
        for each in entries:
            sign(one, each)
        one.apply(one.book.set_bundle(forge.bundle(A, OTHER), NOW))
        assert unsettled(one)
        for number in (0, 100, 199):  # nothing unproven is served
            assert not look(one, frozenset({Selector("t", f"v{number}")})).message
        assert all(one.book.held(each.id) is None for each in entries)
        await settle()
        assert not unsettled(one)
        assert not one.book.resting
        assert len(one.book.take(NOW, 500)) == 200

    run(main())


# What is sent


def test_callers_with_the_same_entries_share_one_encoding() -> None:
    one = cache(entry("e1"), entry("e2", federates_with=(B,)))
    one.apply(one.book.set_foreign(BundleSet([FOREIGN])))
    with one.watch() as first, one.watch() as second:
        too = MINE | {Selector("t", "too")}
        svids = one.x509_svids(first, MINE)
        assert svids.message is one.x509_svids(second, too).message
        assert one.x509_bundles(first, MINE).message is one.x509_bundles(second, too).message
        one.apply(one.book.set_bundle(forge.bundle(A, ROOT, OTHER), NOW))
        assert one.x509_svids(first, MINE).message != svids.message
        assert one.x509_svids(first, MINE).message is one.x509_svids(second, too).message


def test_what_a_message_is_made_of() -> None:
    one = cache(entry("e1", federates_with=(B,)), entry("e2", federates_with=(B,)))
    one.apply(one.book.set_foreign(BundleSet([FOREIGN])))
    content = look(one)
    assert content.entitled
    assert content.complete
    message = workload.X509SVIDResponse.FromString(content.message or b"")
    assert [each.spiffe_id for each in message.svids] == ["spiffe://a.test/e1", "spiffe://a.test/e2"]
    assert dict(message.federated_bundles) == {"spiffe://b.test": FOREIGN.x509_authorities[0].der}
    # The same as from protobuf itself.
    assert (
        workload.X509SVIDResponse(svids=message.svids, federated_bundles=dict(message.federated_bundles))
        == message
    )


def test_a_foreign_bundle_that_changes_or_goes_is_in_no_message_any_more() -> None:
    one = cache(entry("e1", federates_with=(B,)))
    one.apply(one.book.set_foreign(BundleSet([FOREIGN])))
    fresh = Bundle(trust_domain=B, x509_authorities=(forge.root(domain=B).certificate,))
    for foreign in (FOREIGN, fresh, None):
        one.apply(one.book.set_foreign(BundleSet([foreign] if foreign else [])))
        message = workload.X509SVIDResponse.FromString(look(one).message or b"")
        expected = {"spiffe://b.test": foreign.x509_authorities[0].der} if foreign else {}
        assert dict(message.federated_bundles) == expected
        with one.watch() as watcher:
            bundles = workload.X509BundlesResponse.FromString(one.x509_bundles(watcher, MINE).message or b"")
        assert dict(bundles.bundles) == {"spiffe://a.test": ROOT.certificate.der, **expected}
    assert not len(one._fragments.federated)
    assert len(one._fragments.x509_bundles) == 1


def test_without_entries_or_svids_there_is_no_message() -> None:
    one = cache()
    nothing = look(one)
    assert (nothing.entitled, nothing.message, nothing.complete) == (False, None, True)
    with one.watch() as watcher:
        bundles = one.x509_bundles(watcher, MINE)
        assert (bundles.entitled, bundles.message) == (False, None)
    one.apply(one.book.replace_entries([entry()]))
    unsigned = look(one)
    assert (unsigned.entitled, unsigned.message, unsigned.complete) == (True, None, False)


def test_what_cannot_be_had_is_not_waited_for_when_there_is_something_else() -> None:
    one = cache(entry("e1"), entry("e2"))
    one.apply(one.book.replace_entries([entry("e1"), entry("e2"), entry("e3")]))
    with one.watch() as watcher:
        assert not one.x509_svids(watcher, MINE).complete
        one.apply(one.book.failed(entry("e3"), NOW, 0.5))
        assert watcher.told
        assert one.x509_svids(watcher, MINE).complete


def test_what_has_ended_is_not_served_even_before_anybody_noticed() -> None:
    async def main() -> None:
        one = cache(entry())
        clock = one._clock
        assert isinstance(clock, ManualClock)
        clock.jump(timedelta(minutes=59))
        assert look(one).message
        clock.jump(timedelta(minutes=1))
        assert look(one).message is None
        clock.jump(timedelta(minutes=-1))  # the machine's clock was wrong
        assert look(one).message

    run(main())


def test_an_end_is_told_in_time_also_one_that_comes_sooner_than_the_one_that_was_waited_for() -> None:
    async def main() -> None:
        one = cache()
        one.apply(one.book.replace_entries([entry()]))
        clock = one._clock
        assert isinstance(clock, ManualClock)
        keeping = asyncio.ensure_future(one.keep())
        await settle()
        with one.watch() as watcher:
            one.x509_svids(watcher, MINE)
            sign(one, entry(), timedelta(seconds=2))
            one.x509_svids(watcher, MINE)
            watcher.told = False
            told = []
            for seconds in (1.9, 0.1):
                await clock.advance(timedelta(seconds=seconds))
                told.append(watcher.told)
            assert told == [False, True]
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    run(main())


def test_a_wipe_tells_everybody_and_leaves_no_key() -> None:
    one = cache(entry("e1"), entry("e2", "other"))
    with one.watch() as watcher, one.watch() as nobody:
        one.x509_svids(watcher, MINE)
        one.x509_svids(nobody, frozenset({Selector("t", "nobody")}))
        one.wipe()
        assert one.wiped
        assert watcher.told
        assert nobody.told
        assert not one.x509_svids(watcher, MINE).entitled
    assert not one._fragments._identities
    assert not one._fragments._joined
    assert not one._delivered


# What the rest of the agent is told


def test_work_is_only_there_when_there_is_some() -> None:
    async def main() -> None:
        one = cache(entry())
        one.work.clear()
        one.apply(Change(frozenset({"e1"})), Change(own_bundle=X509))
        assert not one.work.is_set()
        lazy = AuthorizedEntry(
            id="e2", spiffe_id=SpiffeID("spiffe://a.test/e2"), selectors=MINE, on_demand=True
        )
        one.apply(one.book.change_entries([lazy], []))
        assert not one.work.is_set()
        look(one)
        waiting = asyncio.ensure_future(one.until_work(10, urgent=True))
        assert await asyncio.wait_for(waiting, 10) == (lazy,)
        waiting = asyncio.ensure_future(one.until_work(10))
        await settle()
        assert not waiting.done()
        one.apply(one.book.change_entries([entry("e3")], []))
        assert [each.id for each in await asyncio.wait_for(waiting, 10)] == ["e3"]

    run(main())


def test_a_retry_is_taken_when_it_is_time() -> None:
    async def main() -> None:
        one = cache()
        clock = one._clock
        assert isinstance(clock, ManualClock)
        one.apply(one.book.change_entries([entry()], []))
        assert one.book.take(NOW, 10)
        one.apply(one.book.failed(entry(), NOW, 1.0))
        waiting = asyncio.ensure_future(one.until_work(10))
        await clock.advance(timedelta(seconds=0.9))
        assert not waiting.done()
        await clock.advance(timedelta(seconds=0.1))
        assert [each.id for each in await asyncio.wait_for(waiting, 10)] == ["e1"]

    run(main())


def test_delivery_is_told_once_for_each_svid_and_by_whoever_is_first() -> None:
    progress = Progress()
    progress.listen(on=True)
    one = cache(entry("e1", revision=3), entry("e2", revision=4), progress=progress)
    one.apply(one.book.change_entries([entry("e9", "me", "too")], []))
    sign(one, entry("e9", "me", "too"))
    delivered = [Step("e1", 3, Stage.DELIVERED), Step("e2", 4, Stage.DELIVERED)]
    with one.watch() as first, one.watch() as second:
        one.sent(one.x509_svids(first, MINE))
        assert list(progress.take()) == delivered
        one.sent(one.x509_svids(first, MINE))
        one.sent(one.x509_svids(second, MINE | {Selector("t", "too")}))
        assert list(progress.take()) == [Step("e9", 0, Stage.DELIVERED)]
        sign(one, entry("e1", revision=3), timedelta(hours=2))
        one.sent(one.x509_svids(second, MINE))
        assert list(progress.take()) == delivered[:1]
        one.apply(one.book.set_bundle(forge.bundle(A, ROOT, OTHER), NOW))
        one.sent(one.x509_svids(second, MINE))  # the same SVIDs in another message
        assert not progress.take()


def test_what_rests_on_whom_is_told_when_it_changes() -> None:
    progress = Progress()
    one = cache(progress=progress)
    one.apply(one.book.change_entries([entry("e1"), entry("e2")], []))
    assert not progress.some.is_set()
    sign(one, entry("e1"))
    assert progress.some.is_set()
    assert list(one.book.resting.values()) == [1]
    progress.some.clear()
    sign(one, entry("e1"), timedelta(hours=2))  # renewed: nothing else than before
    assert not progress.some.is_set()

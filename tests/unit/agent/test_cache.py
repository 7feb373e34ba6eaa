from __future__ import annotations

import asyncio
from datetime import timedelta

from finial.agent.book import AuthorizedEntry, Book, Change
from finial.agent.cache import Cache, Watcher
from finial.core.bundle import BundleSet
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.core.x509svid import X509SVID
from finial.wire.gen import workload
from support import forge
from support.clock import ManualClock, settle
from support.forge import NOW, A, B
from support.rpc import run

ROOT = forge.root()
FOREIGN = forge.bundle(B, forge.root(domain=B))
MINE = frozenset({Selector("t", "me")})


def entry(
    entry_id: str = "e1", *values: str, federates_with: tuple[TrustDomain, ...] = ()
) -> AuthorizedEntry:
    return AuthorizedEntry(
        id=entry_id,
        spiffe_id=SpiffeID(f"spiffe://a.test/{entry_id}"),
        selectors=frozenset(Selector("t", each) for each in values or ("me",)),
        federates_with=federates_with,
    )


def cache(*entries: AuthorizedEntry) -> Cache:
    """A cache with these entries, all of them signed."""
    made = Cache(Book(forge.bundle(A, ROOT)), ManualClock(NOW))
    made.apply(made.book.replace_entries(entries))
    for each in entries:
        sign(made, each)
    return made


def sign(of: Cache, entry: AuthorizedEntry, life: timedelta = timedelta(hours=1)) -> None:
    leaf = forge.leaf(ROOT, entry.spiffe_id.text, not_before=NOW, not_after=NOW + life)
    svid = X509SVID((leaf.certificate,), leaf.key)
    of.apply(of.book.accept(entry, svid, now=NOW, spread=0.5))


def woken(of: Cache, watcher: Watcher, *changes: Change) -> bool:
    of.work.clear()
    watcher.changed.clear()
    of.apply(*changes)
    assert of.work.is_set()
    return watcher.changed.is_set()


def test_a_watcher_is_told_of_what_concerns_it_and_of_nothing_else() -> None:
    one = cache(entry("e1", federates_with=(B,)), entry("e2", "other"))
    with one.watch() as watcher:
        assert one.watchers == 1
        one.x509_svids(watcher, MINE)
        assert not woken(one, watcher, Change())
        assert not woken(one, watcher, Change(frozenset({"e2"})))
        assert woken(one, watcher, Change(frozenset({"e1"})))
        assert woken(one, watcher, Change(own_bundle=True))
        assert woken(one, watcher, Change(domains=frozenset({B})))
        assert not woken(one, watcher, Change(domains=frozenset({TrustDomain("c.test")})))
        stranger, fitting = entry("e3", "me", "and more"), entry("e4")
        assert not woken(one, watcher, Change(frozenset({"e3"}), (stranger,)))
        assert woken(one, watcher, Change(), Change(frozenset({"e3", "e4"}), (stranger, fitting)))
        assert woken(one, watcher, Change(frozenset(f"x{number}" for number in range(100))))
    assert one.watchers == 0


def test_callers_with_the_same_entries_share_one_encoding() -> None:
    one = cache(entry())
    one.apply(one.book.set_foreign(BundleSet([FOREIGN])))
    first = one.x509_svids(Watcher(), MINE)
    second = one.x509_svids(Watcher(), MINE | {Selector("t", "too")})
    assert first.message is second.message
    assert one.x509_bundles(Watcher(), MINE).message is one.x509_bundles(Watcher(), MINE).message
    one.apply(one.book.set_bundle(forge.bundle(A, ROOT, forge.root("other")), NOW))
    assert one.x509_svids(Watcher(), MINE).message != first.message


def test_what_a_message_is_made_of() -> None:
    one = cache(entry("e1", federates_with=(B,)), entry("e2", federates_with=(B,)))
    one.apply(one.book.set_foreign(BundleSet([FOREIGN])))
    content = one.x509_svids(Watcher(), MINE)
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


def test_without_entries_or_svids_there_is_no_message() -> None:
    one = cache()
    nothing = one.x509_svids(Watcher(), MINE)
    assert (nothing.entitled, nothing.message, nothing.complete) == (False, None, True)
    one.apply(one.book.replace_entries([entry()]))
    unsigned = one.x509_svids(Watcher(), MINE)
    assert (unsigned.entitled, unsigned.message, unsigned.complete) == (True, None, False)


def test_what_has_ended_is_not_served_even_before_anybody_noticed() -> None:
    async def main() -> None:
        one = cache(entry())
        clock = one._clock
        assert isinstance(clock, ManualClock)
        clock.jump(timedelta(minutes=59))
        assert one.x509_svids(Watcher(), MINE).message
        clock.jump(timedelta(minutes=1))
        assert one.x509_svids(Watcher(), MINE).message is None

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
            watcher.changed.clear()
            await clock.advance(timedelta(seconds=1.9))
            assert not watcher.changed.is_set()
            await clock.advance(timedelta(seconds=0.1))
            assert watcher.changed.is_set()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    run(main())


def test_a_wipe_tells_everybody_and_leaves_no_key() -> None:
    one = cache(entry("e1"), entry("e2", "other"))
    with one.watch() as watcher:
        one.x509_svids(watcher, MINE)
        one.wipe()
        assert one.wiped
        assert watcher.changed.is_set()
        assert not one.x509_svids(watcher, MINE).entitled
    assert not one._messages
    assert not one._fragments._identities

"""Streams of one profile are told of nothing that another one shows, and keep what was encoded for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from finial.agent.audiences import Content, View
from finial.agent.book import Book
from finial.agent.cache import Cache
from finial.agent.change import Change, Profile
from finial.agent.progress import Progress
from finial.core.bundle import Bundle, BundleSet
from finial.core.selectors import Selector
from finial.core.token_authority import TokenAuthority
from finial.core.x509svid import X509SVID
from finial.wire.gen import workload as pb
from support import forge
from support.books import entry
from support.clock import ManualClock
from support.forge import NOW, A, B
from support.jwt_cases import K1, K2, hold

ROOT = forge.root()
ME = frozenset({Selector("t", "x")})
ONE = entry("e1", federates_with=(B,))
OWN = Bundle(trust_domain=A, x509_authorities=(ROOT.certificate,), jwt_authorities=(K1,))
FOREIGN = Bundle(trust_domain=B, x509_authorities=(forge.root(domain=B).certificate,), jwt_authorities=(K2,))


@pytest.fixture
def cache() -> Cache:
    """One entry with its SVID, and two bundles."""
    made = Cache(Book(OWN), ManualClock(NOW), Progress())
    made.apply(made.book.replace_entries([ONE]), made.book.set_foreign(BundleSet([FOREIGN])))
    leaf = forge.leaf(ROOT, ONE.spiffe_id.text)
    made.apply(made.book.accept(ONE, X509SVID((leaf.certificate,), leaf.key), now=NOW, spread=0.5))
    return made


def own(cache: Cache, **changes: object) -> Change:
    return cache.book.set_bundle(replace(cache.book.bundle, **changes), NOW)  # type: ignore[arg-type]


def foreign(cache: Cache, **changes: object) -> Change:
    fresh = replace(FOREIGN, **changes)  # type: ignore[arg-type]
    return cache.book.set_foreign(BundleSet([fresh]))


def told(cache: Cache, change: Callable[[], Change]) -> set[Profile]:
    """The profiles whose streams are told of a change, which is made then."""
    with ExitStack() as stack:
        watchers = {profile: stack.enter_context(cache.watch(profile)) for profile in Profile}
        cache.x509_svids(watchers[Profile.X509], ME)
        cache.jwt_bundles(watchers[Profile.JWT], ME)
        cache.wit_bundles(watchers[Profile.WIT], ME)
        cache.apply(change())
        return {profile for profile, watcher in watchers.items() if watcher.told}


def test_whoever_shows_something_else_is_told(cache: Cache) -> None:
    root = forge.root("other").certificate
    assert told(cache, lambda: own(cache, x509_authorities=(ROOT.certificate, root))) == {Profile.X509}
    assert told(cache, lambda: own(cache, jwt_authorities=(K1, K2))) == {Profile.JWT}
    assert told(cache, lambda: own(cache, jwt_authorities=(), wit_authorities=(K2,))) == {
        Profile.JWT,
        Profile.WIT,
    }
    assert told(cache, lambda: own(cache, tainted=frozenset({root}))) == set()
    assert told(cache, lambda: foreign(cache, jwt_authorities=())) == {Profile.JWT}
    assert told(cache, lambda: foreign(cache, jwt_authorities=(), x509_authorities=(root,))) == {Profile.X509}
    assert told(cache, lambda: Change(frozenset({"e1"}))) == {Profile.X509}  # another SVID
    assert told(cache, lambda: cache.book.change_entries([replace(ONE, revision=1)], [])) == set(Profile)
    assert told(cache, lambda: cache.book.set_foreign(BundleSet())) == set(Profile)
    assert told(cache, lambda: cache.book.change_entries([], ["e1"])) == set(Profile)


def test_a_change_of_keys_for_tokens_leaves_every_x509_message_as_it_is(cache: Cache) -> None:
    with cache.watch() as one, cache.watch() as other:
        svids, bundles = cache.x509_svids(one, ME), cache.x509_bundles(other, ME)
        cache.apply(own(cache, jwt_authorities=(K1, K2)), foreign(cache, jwt_authorities=()))
        assert cache.x509_svids(one, ME) is svids
        assert cache.x509_bundles(other, ME) is bundles
        too = ME | {Selector("t", "too")}  # for whom it has to be made
        assert cache.x509_svids(one, too).message is svids.message
        assert cache.x509_bundles(other, too).message is bundles.message


def test_bundles_hold_the_keys_of_their_profile_and_no_other(cache: Cache) -> None:
    cache.apply(own(cache, wit_authorities=(K2,)))
    with cache.watch(Profile.JWT) as watcher:
        jwt = pb.JWTBundlesResponse.FromString(cache.jwt_bundles(watcher, ME).message or b"")
        wit = pb.WITBundlesResponse.FromString(cache.wit_bundles(watcher, ME).message or b"")
        nobody = cache.jwt_bundles(watcher, frozenset())
    assert (nobody.entitled, nobody.message) == (False, None)
    assert set(jwt.bundles) == set(wit.bundles) == {"spiffe://a.test", "spiffe://b.test"}
    assert b'"k1"' in jwt.bundles["spiffe://a.test"]
    assert b'"k2"' not in jwt.bundles["spiffe://a.test"]
    assert '"k2"' in wit.bundles["spiffe://a.test"]
    assert '"k2"' not in wit.bundles["spiffe://b.test"]


def test_a_bundle_that_goes_leaves_no_fragment(cache: Cache) -> None:
    with cache.watch(Profile.JWT) as watcher:
        cache.jwt_bundles(watcher, ME)
        cache.wit_bundles(watcher, ME)
        fragments = cache._fragments
        assert len(fragments.jwt_bundles) == len(fragments.wit_bundles) == 2
        cache.apply(cache.book.set_foreign(BundleSet()))
        assert len(fragments.jwt_bundles) == len(fragments.wit_bundles) == 1


def test_whoever_is_answered_once_is_told_what_it_is_entitled_to(cache: Cache) -> None:
    assert cache.entitled(ME) == (ONE,)
    assert cache.entitled(ME) is cache.entitled(ME)
    assert cache.entitled(frozenset()) == ()
    assert set(cache.bundles(cache.entitled(ME))) == {A, B}
    assert set(cache.bundles(())) == {A}
    assert cache.watchers == 0
    cache.apply(cache.book.change_entries([], ["e1"]))
    assert cache.entitled(ME) == ()


def test_any_other_view_is_kept_as_long_as_it_holds(cache: Cache) -> None:
    made: list[int] = []

    def make(*_: object) -> Content:
        made.append(1)
        return Content(True, None, complete=True)

    view = View(Profile.WIT, make)
    with cache.watch(Profile.WIT) as watcher:
        for change in (Change(), own(cache, jwt_authorities=()), own(cache, wit_authorities=(K2,))):
            cache.apply(change)
            cache.look(view, watcher, ME)
            cache.look(view, watcher, ME)
    assert len(made) == 2


@pytest.mark.parametrize("keys", [(), (K1,)])
def test_whoever_waits_for_another_bundle_is_woken_by_any_change_of_keys(
    cache: Cache, keys: tuple[TokenAuthority, ...]
) -> None:
    news = cache.next_bundle()
    cache.apply(own(cache, sequence=9), foreign(cache, jwt_authorities=()))
    assert not news.is_set()
    cache.apply(own(cache, wit_authorities=(K2,), jwt_authorities=keys))
    assert news.is_set()
    assert not cache.next_bundle().is_set()


def test_tokens_go_with_their_entries_and_with_all(cache: Cache) -> None:
    for each in (ONE, entry("e2")):
        hold(cache.tokens, each)
    cache.apply(Change(frozenset({"e1"})))  # another SVID
    assert len(cache.tokens) == 2
    cache.apply(Change(frozenset({"e2"})))  # which is not in the book
    assert len(cache.tokens) == 1
    cache.wipe()
    assert len(cache.tokens) == 0

"""The federation standard, as far as it decides and neither serves nor fetches."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_change import difference, merged
from finial.core.bundle_doc import read_bundle, write_bundle
from finial.core.errors import BundleError, FederationError, X509VerifyError
from finial.core.federation import (
    HTTPSSPIFFE,
    EndpointURL,
    HTTPSWeb,
    Profile,
    Relationship,
    VerifyHost,
    VerifyID,
    read_relationship,
    verification,
)
from finial.core.federation_fetch import (
    EndpointRedirect,
    Pace,
    Verdict,
    judge,
    next_poll,
    redirected,
    refresh_hint_for,
)
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.rotation import Lifetime
from finial.core.rules.federation import MAX_HOPS, Answer, Parameters
from finial.core.x509path import verify_x509
from support import forge

OWN, C = TrustDomain("own.test"), TrustDomain("c.test")
ENDPOINT = SpiffeID("spiffe://b.test/endpoint")
URL = EndpointURL("https://b.test:8443/a/b?c=d")
OLD, NEW = forge.root("old", forge.B), forge.root("new", forge.B)
STORED = replace(forge.bundle(forge.B, OLD), sequence=7)


def relationship(profile: Profile, domain: TrustDomain = forge.B) -> Relationship:
    return Relationship(trust_domain=domain, url=URL, profile=profile)


def given(**changes: str) -> Relationship:
    fields = {"trust_domain": "b.test", "url": URL.text, "profile": "https_web", **changes}
    return read_relationship(Parameters(**fields), own=OWN)


def refusals(**changes: str) -> list[str]:
    with pytest.raises(FederationError) as caught:
        given(**changes)
    return [finding.reason.id for finding in caught.value.findings]


def proves(made: forge.Made, bundles: BundleSet) -> bool:
    try:
        verify_x509([made.der], bundles, now=forge.NOW)
    except X509VerifyError:
        return False
    return True


@pytest.mark.spec("FED-25", "FED-26", "FED-40", "FED-41")
@pytest.mark.parametrize("profile", ["https_web", "https_spiffe"])
def test_the_scheme_is_https_and_there_is_no_user(profile: str) -> None:
    more = {"profile": profile, "endpoint_id": ENDPOINT.text if profile == "https_spiffe" else ""}
    assert refusals(url="http://b.test", **more) == ["federation-url-scheme"]
    for url in ("https://u:p@b.test/x", "https://u@b.test/x", "https://@b.test/x"):
        assert refusals(url=url, **more) == ["federation-url-user-info"]
    for location in ("http://c.test", "https://u:p@c.test"):
        with pytest.raises(FederationError):
            redirected(URL, Answer(status=302, location=location))


@pytest.mark.spec("FED-27", "FED-42")
def test_the_other_parts_of_a_url_are_free_and_stay_as_they_are() -> None:
    assert (URL.host, URL.port, URL.target) == ("b.test", 8443, "/a/b?c=d")
    assert EndpointURL("https://b.test/%7e/../x;y=z?").target == "/%7e/../x;y=z?"


@pytest.mark.spec("FED-21", "FED-22", "FED-28", "FED-38", "FED-43", "FED-58", "FED-68")
def test_nothing_is_taken_from_something_else() -> None:
    assert given() == relationship(HTTPSWeb())
    for missing in ("trust_domain", "url", "profile"):
        assert refusals(**{missing: ""}) == ["federation-parameter"]
    assert refusals(profile="https_spiffe") == ["federation-endpoint-id"]
    assert refusals(endpoint_id=ENDPOINT.text) == ["federation-surplus"]
    assert given(url="https://c.test").trust_domain == forge.B


@pytest.mark.spec("FED-44", "FED-45", "FED-46", "FED-55")
def test_a_self_serving_endpoint_begins_with_what_the_operator_gave() -> None:
    serving = relationship(HTTPSSPIFFE(ENDPOINT))
    assert serving.self_serving
    with pytest.raises(FederationError, match="no bundle of b.test"):
        verification(serving, URL, BundleSet())
    first = read_bundle(forge.B, write_bundle(STORED)).bundle
    check = verification(serving, URL, BundleSet(), bootstrap=first)
    assert check == VerifyID(ENDPOINT, STORED)
    server = forge.leaf(OLD, ENDPOINT.text)
    assert proves(server, BundleSet([first]))
    assert not proves(server, BundleSet([forge.bundle(forge.B, NEW)]))


@pytest.mark.spec("FED-56")
def test_later_the_latest_bundle_counts_and_the_first_one_no_more() -> None:
    serving = relationship(HTTPSSPIFFE(ENDPOINT))
    newest, empty = forge.bundle(forge.B, NEW), Bundle(trust_domain=forge.B)
    for latest in (newest, empty):
        check = verification(serving, URL, BundleSet([latest]), bootstrap=STORED)
        assert check == VerifyID(ENDPOINT, latest)
    assert not proves(forge.leaf(OLD, ENDPOINT.text), BundleSet([newest]))
    assert proves(forge.leaf(NEW, ENDPOINT.text), BundleSet([newest]))


@pytest.mark.spec("FED-44", "FED-48", "FED-57", "FED-81")
def test_an_endpoint_of_another_domain_is_verified_by_the_bundle_of_that_one() -> None:
    elsewhere = SpiffeID("spiffe://c.test/endpoint")
    served = relationship(HTTPSSPIFFE(elsewhere))
    assert not served.self_serving
    with pytest.raises(FederationError, match="c.test"):
        verification(served, URL, BundleSet([STORED]), bootstrap=STORED)
    # However the bundle of that domain has come.
    for root in (forge.root("c", C), forge.root("later", C)):
        bundle = forge.bundle(C, root)
        assert verification(served, URL, BundleSet([STORED, bundle])) == VerifyID(elsewhere, bundle)


@pytest.mark.spec("FED-39", "FED-59", "FED-73")
def test_redirects_are_followed_to_addresses_that_could_have_been_configured() -> None:
    for status in (301, 302, 303, 307, 308):
        answer = Answer(status=status, location="/moved")
        assert redirected(URL, answer) == EndpointURL("https://b.test:8443/moved")
    moved = Answer(status=302, location="https://c.test/x")
    assert verification(relationship(HTTPSWeb()), EndpointURL("https://c.test/x"), BundleSet()) == VerifyHost(
        "c.test"
    )
    for refused in (replace(moved, follow=False), replace(moved, hops=MAX_HOPS)):
        with pytest.raises(FederationError):
            redirected(URL, refused)


@pytest.mark.spec("FED-73", "FED-77", "FED-78", "FED-84")
def test_our_own_redirects_are_temporary_and_lead_to_valid_addresses() -> None:
    assert {EndpointRedirect(status, URL).target for status in (302, 303, 307)} == {URL}
    for status in (301, 308):
        with pytest.raises(FederationError):
            EndpointRedirect(status, URL)
    for text in ("http://b.test", "https://u@b.test"):
        with pytest.raises(FederationError):
            EndpointRedirect(302, EndpointURL(text))


@pytest.mark.spec("FED-09", "FED-10", "FED-63", "BUNDLE-18", "BUNDLE-44")
def test_how_often_is_asked() -> None:
    pace = Pace(floor=timedelta(seconds=30), ceiling=timedelta(minutes=10))
    hints = {60: 60, 1: 30, 86400: 600, None: 300}
    for hint, seconds in hints.items():
        wanted = None if hint is None else timedelta(seconds=hint)
        bundle = replace(STORED, refresh_hint=wanted)
        assert pace.interval(bundle) == timedelta(seconds=seconds)
        # After a failure the stored bundle, and so the interval, is the one before.
        assert next_poll(forge.NOW, bundle, pace) == forge.NOW + timedelta(seconds=seconds)


@pytest.mark.spec("FED-12", "FED-13")
def test_the_number_decides_which_bundle_is_the_latest() -> None:
    newer, older = replace(STORED, sequence=8), replace(forge.bundle(forge.B, NEW), sequence=6)
    assert judge(newer, STORED).verdict is Verdict.NEWER
    found = judge(older, STORED)
    assert found.verdict is Verdict.OLDER
    assert not found.takes_over
    assert found.finding is not None
    unnumbered = forge.bundle(forge.B, NEW)
    assert judge(unnumbered, replace(STORED, sequence=0)).takes_over


@pytest.mark.spec("FED-14")
def test_what_an_operator_sets_counts_until_the_next_refresh() -> None:
    by_hand = replace(forge.bundle(forge.B, OLD), sequence=50)
    fetched = replace(forge.bundle(forge.B, NEW), sequence=7)
    assert judge(fetched, by_hand, by_hand=True).takes_over
    assert not judge(fetched, by_hand).takes_over


@pytest.mark.spec("FED-15", "FED-16", "FED-71")
def test_bundles_of_two_domains_never_come_together() -> None:
    mine = forge.bundle(forge.A, OLD)
    for put_together in (merged, difference, judge):
        with pytest.raises(BundleError, match=r"a\.test.*b\.test|b\.test.*a\.test"):
            put_together(STORED, mine)
    both = BundleSet([mine, STORED])
    assert {domain: bundle.trust_domain for domain, bundle in both.items()} == {
        forge.A: forge.A,
        forge.B: forge.B,
    }
    # The name comes from the relationship, whatever the document holds.
    fetched = read_bundle(relationship(HTTPSWeb()).trust_domain, write_bundle(mine)).bundle
    assert fetched.trust_domain == forge.B


@pytest.mark.spec("FED-60", "FED-70")
def test_federation_is_one_way_and_no_pool() -> None:
    ours, theirs = forge.root("ours"), forge.root("theirs", forge.B)
    here = forge.bundles(a=ours, b=theirs)
    there = forge.bundles(b=theirs)
    in_a, in_b = forge.leaf(ours), forge.leaf(theirs, "spiffe://b.test/web")
    assert (proves(in_a, here), proves(in_b, here)) == (True, True)
    assert (proves(in_a, there), proves(in_b, there)) == (False, True)
    assert not proves(forge.leaf(ours, "spiffe://b.test/web"), here)


@pytest.mark.spec("FED-04", "BUNDLE-43")
@pytest.mark.parametrize("ttl", [timedelta(minutes=1), timedelta(hours=24), timedelta(days=36500)])
def test_a_key_is_published_several_hints_before_it_is_used(ttl: timedelta) -> None:
    authority = Lifetime(forge.NOW, forge.NOW + ttl)
    hint = refresh_hint_for(authority)
    assert authority.activate_at() - authority.prepare_at() >= 3 * hint
    assert hint <= timedelta(minutes=5)

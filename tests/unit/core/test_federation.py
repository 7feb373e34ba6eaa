"""Relationships: everything that is wrong is listed, and nothing secret is repeated."""

from __future__ import annotations

import pytest

from finial.core.errors import FederationError
from finial.core.federation import (
    HTTPSSPIFFE,
    EndpointURL,
    HTTPSWeb,
    Relationship,
    VerifyHost,
    VerifyID,
    endpoint_chain,
    read_relationship,
    verification,
)
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.rules.federation import MAX_URL_BYTES, Parameters
from support import forge

OWN = TrustDomain("own.test")
C = TrustDomain("c.test")
SERVER = SpiffeID("spiffe://b.test/endpoint")


def faults(text: str) -> list[str]:
    with pytest.raises(FederationError) as caught:
        EndpointURL(text)
    return [finding.reason.id.removeprefix("federation-url-") for finding in caught.value.findings]


def web(domain: TrustDomain, url: str = "https://b.test/bundle") -> Relationship:
    return Relationship(trust_domain=domain, url=EndpointURL(url), profile=HTTPSWeb())


def spiffe(domain: TrustDomain, endpoint_id: str) -> Relationship:
    profile = HTTPSSPIFFE(SpiffeID(endpoint_id))
    return Relationship(trust_domain=domain, url=EndpointURL("https://[::1]:8443"), profile=profile)


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("https://b.test", "b.test", 443, "/"),
        ("HTTPS://B.test:8443/a/../b?c=d&e#f", "b.test", 8443, "/a/../b?c=d&e"),
        ("https://b.test:?x", "b.test", 443, "/?x"),
        ("https://10.0.0.1/x%20y", "10.0.0.1", 443, "/x%20y"),
        ("https://[2001:DB8::1]:1/", "2001:db8::1", 1, "/"),
    ],
)
def test_urls(text: str, host: str, port: int, target: str) -> None:
    url = EndpointURL(text)
    assert (url.host, url.port, url.target, str(url)) == (host, port, target, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["federation-url", "host"]),
        ("https://b.test/a b", ["federation-url"]),
        ("https://b.test/\u00e9", ["federation-url"]),
        ("https://b.test/\udc80", ["federation-url"]),
        ("https://b.test/" + "x" * MAX_URL_BYTES, ["long"]),
        ("b.test/x", ["federation-url", "host"]),
        ("//b.test/x", ["federation-url"]),
        ("http://b.test", ["scheme"]),
        ("http://u:p@b.test:0", ["scheme", "user-info"]),
        ("https://@b.test", ["user-info"]),
        ("https://a@b@c", ["user-info"]),
        ("https:///x", ["host"]),
        ("https:x", ["host"]),
        ("https://:443", ["host"]),
        ("https://a:1:2", ["host"]),
        ("https://[::1", ["host"]),
        ("https://127.1", ["host"]),
        ("https://%41.test", ["host"]),
        ("https://*.test", ["host"]),
        ("https://b.test:0", ["port"]),
        ("https://b.test:65536", ["port"]),
        ("https://b.test:x", ["port"]),
        ("ftp://127.1:x", ["scheme", "host", "port"]),
    ],
)
def test_what_is_no_url(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(FederationError) as caught:
        EndpointURL("https://user:secret@b.test:x/")
    assert "secret" not in f"{caught.value} {caught.value.subject} {caught.value.findings}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["federation-parameter"]),
        ({"trust_domain": "b.test", "url": "https://b.test"}, ["federation-parameter"]),
        (
            {"trust_domain": "B", "url": "https://b.test", "profile": "https_web"},
            ["federation-parameter"] * 1,
        ),
        (
            {"trust_domain": "spiffe://own.test", "url": "http://b", "profile": "x"},
            ["federation-profile", "federation-url-scheme", "federation-own-domain"],
        ),
        (
            {"trust_domain": "b.test", "url": "https://b.test", "profile": "https_spiffe"},
            ["federation-endpoint-id"],
        ),
        (
            {
                "trust_domain": "b.test",
                "url": "https://b.test",
                "profile": "https_spiffe",
                "endpoint_id": "spiffe://b.test",
            },
            ["federation-endpoint-id"],
        ),
        (
            {
                "trust_domain": "b.test",
                "url": "https://b.test",
                "profile": "https_spiffe",
                "endpoint_id": "b.test/x",
            },
            ["federation-endpoint-id"],
        ),
        (
            {
                "trust_domain": "b.test",
                "url": "https://b.test",
                "profile": "https_web",
                "endpoint_id": "spiffe://b.test/x",
            },
            ["federation-surplus"],
        ),
    ],
)
def test_what_is_no_relationship(given: dict[str, str], expected: list[str]) -> None:
    with pytest.raises(FederationError) as caught:
        read_relationship(Parameters(**given), own=OWN)
    assert [finding.reason.id for finding in caught.value.findings] == expected


def test_relationships_are_read() -> None:
    given = {"trust_domain": "spiffe://b.test", "url": "https://b.test/bundle"}
    assert read_relationship(Parameters(**given, profile="https_web"), own=OWN) == web(forge.B)
    found = read_relationship(Parameters(**given, profile="https_spiffe", endpoint_id=SERVER.text), own=OWN)
    assert found.profile == HTTPSSPIFFE(SERVER)
    assert (found.profile.name, HTTPSWeb().name) == ("https_spiffe", "https_web")
    assert (found.self_serving, found.relies_on) == (True, forge.B)
    assert (web(forge.B).self_serving, web(forge.B).relies_on) == (False, None)


def test_what_the_server_is_verified_by() -> None:
    held = forge.bundles(a=forge.root(), b=forge.root("b", forge.B))
    moved = EndpointURL("https://elsewhere.test")
    assert verification(web(forge.B), moved, held) == VerifyHost("elsewhere.test")
    foreign = spiffe(forge.B, "spiffe://a.test/endpoint")
    assert not foreign.self_serving
    assert verification(foreign, moved, held) == VerifyID(SpiffeID("spiffe://a.test/endpoint"), held[forge.A])
    with pytest.raises(FederationError, match="no bundle of c.test to verify"):
        verification(spiffe(forge.B, "spiffe://c.test/x"), moved, held, bootstrap=held[forge.B])
    with pytest.raises(FederationError, match="no bundle of c.test to verify"):
        verification(spiffe(C, "spiffe://c.test/x"), moved, held, bootstrap=held[forge.B])


def test_chains_of_endpoints() -> None:
    a, b, c = forge.A, forge.B, C
    through_c = {a: spiffe(a, "spiffe://b.test/x"), b: spiffe(b, "spiffe://c.test/x"), c: web(c)}
    assert endpoint_chain(a, through_c) == (a, b, c)
    assert endpoint_chain(c, through_c) == (c,)
    assert endpoint_chain(OWN, through_c) == (OWN,)
    assert endpoint_chain(b, {b: spiffe(b, "spiffe://b.test/x")}) == (b,)
    circle = {a: spiffe(a, "spiffe://b.test/x"), b: spiffe(b, "spiffe://a.test/x")}
    assert endpoint_chain(a, circle) == (a, b, a)

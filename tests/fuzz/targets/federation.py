"""Federation: what an operator gives for a relationship, and what an endpoint answers to it."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FederationError
from finial.core.federation import (
    HTTPSSPIFFE,
    EndpointURL,
    Relationship,
    VerifyHost,
    VerifyID,
    endpoint_chain,
    read_relationship,
    verification,
)
from finial.core.federation_fetch import check_answer, redirected
from finial.core.ids import SpiffeID
from finial.core.rules.federation import MAX_HOPS, Answer, Parameters
from fuzz.target import Target, refused_well
from support import forge

_SPLIT = b"\x00"
_PARTS = 8
_BUNDLES = BundleSet([forge.bundle(forge.B), Bundle(trust_domain=forge.A)])


def check(data: bytes) -> None:
    """Domain, URL, profile and ID of an endpoint, then location, type, encoding and numbers of its answer."""
    parts = [part.decode("utf-8", "surrogateescape") for part in data.split(_SPLIT)]
    domain, url, profile, endpoint_id, location, kind, encoding, numbers = [*parts, *[""] * _PARTS][:_PARTS]
    given = Parameters(trust_domain=domain, url=url, profile=profile, endpoint_id=endpoint_id)
    try:
        relationship = read_relationship(given, own=forge.A)
    except FederationError as refused:
        others = f"{domain} {profile} {endpoint_id}"
        refused_well(refused, *(each for each in _password(url) if each not in others))
        relationship = Relationship(trust_domain=forge.B, url=_URL, profile=_PROFILE)
    else:
        assert relationship.trust_domain != forge.A
        assert relationship.url.text == url
        assert relationship.profile.name == profile
        assert relationship.self_serving == (relationship.relies_on == relationship.trust_domain)
        again = Parameters(
            trust_domain=relationship.trust_domain.name, url=url, profile=profile, endpoint_id=endpoint_id
        )
        assert read_relationship(again, own=forge.A) == relationship
    _verified(relationship)
    _answered(relationship, _answer(location, kind, encoding, numbers))


def _verified(relationship: Relationship) -> None:
    for bundles in (_BUNDLES, BundleSet()):
        try:
            how = verification(relationship, relationship.url, bundles, bootstrap=_BUNDLES[forge.B])
        except FederationError as refused:
            refused_well(refused)
            continue
        if isinstance(relationship.profile, HTTPSSPIFFE):
            assert isinstance(how, VerifyID)
            assert how.endpoint_id == relationship.profile.endpoint_id
            assert how.bundle.trust_domain == how.endpoint_id.trust_domain
        else:
            assert how == VerifyHost(relationship.url.host)
    chain = endpoint_chain(relationship.trust_domain, {relationship.trust_domain: relationship})
    assert chain[0] == relationship.trust_domain
    assert len(chain) <= 2


def _answer(location: str, kind: str, encoding: str, numbers: str) -> Answer:
    status, hops, length = [*numbers.encode("utf-8", "surrogateescape"), 0, 0, 0][:3]
    return Answer(
        status=_STATUS[status % len(_STATUS)],
        content_type=kind,
        content_encoding=encoding,
        length=None if not length else length << 18,
        location=location or None,
        hops=hops % 8,
        follow=hops < 128,
    )


def _answered(relationship: Relationship, answer: Answer) -> None:
    """A redirect leads to an address that would do for a relationship; of other answers only 200 is read."""
    try:
        target = redirected(relationship.url, answer)
    except FederationError as refused:
        refused_well(refused, *_password(answer.location or ""))
        assert 300 <= answer.status < 400
        return
    if target is not None:
        assert answer.follow
        assert answer.hops < MAX_HOPS
        assert answer.status in {301, 302, 303, 307, 308}
        assert EndpointURL(target.text) == target
        return
    try:
        check_answer(relationship.url, answer)
    except FederationError as refused:
        refused_well(refused)
    else:
        assert answer.status == 200
        assert answer.content_encoding.strip().lower() in {"", "identity"}


def _password(url: str) -> list[str]:
    """What stands before an @ where URLs have their users."""
    user = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return [user] if "@" not in user else []


_URL = EndpointURL("https://b.test:8443/a/b?c")
_PROFILE = HTTPSSPIFFE(SpiffeID("spiffe://b.test/endpoint"))
_STATUS = (200, 301, 302, 303, 304, 305, 307, 308, 300, 404, 500, 204, 100, 0)
_DOMAINS = ("b.test", "b.test", "spiffe://b.test", "c.test", "a.test", "", "spiffe://b.test/x", "B")
_URLS = (
    "https://b.test", "https://b.test:8443/x?y", "http://b.test", "https://u:secret-secret@b.test", "", "https://",
    "https://[::1]/", "https://127.1/", "https://b.test:0",
)  # fmt: skip
_PROFILES = ("https_web", "https_spiffe", "https_spiffe", "", "https")
_ENDPOINT = "spiffe://b.test/endpoint"
_IDS = ("", _ENDPOINT, _ENDPOINT, "spiffe://c.test/endpoint", "spiffe://b.test", "x")
_LOCATIONS = (
    "", "/x", "../y", "//c.test/z", "http://c.test", "https://u:secret-secret@c.test/", "?q", "#f", "\n",
)  # fmt: skip
_KINDS = ("", "application/json", "a/b; charset=utf-8", 'x; CHARSET="latin1"', ";=;", "a;charset")
_ENCODINGS = ("", "identity", "gzip", " Identity ", "br\n")
_CHOICES = (_DOMAINS, _URLS, _PROFILES, _IDS, _LOCATIONS, _KINDS, _ENCODINGS)


def corpus() -> list[bytes]:
    rows = [
        [*(row[0] for row in _CHOICES[:at]), value, *(row[0] for row in _CHOICES[at + 1 :])]
        for at, row in enumerate(_CHOICES)
        for value in row
    ]
    numbers = [
        chr(status) + hops + chr(1) for status in range(len(_STATUS)) for hops in ("\x01", "\x07", "\x7f")
    ]
    spiffe = [
        "b.test",
        "https://b.test",
        "https_spiffe",
        "spiffe://b.test/endpoint",
        "/x",
        "",
        "",
        "\x02\x01\x01",
    ]
    others = [["b.test", "https://b.test", "https_web", "", "/x", "", "", each] for each in numbers]
    return ["\x00".join(row).encode() for row in (*rows, spiffe, *others)]


def generate(source: random.Random) -> bytes:
    """Mostly what is sound, in each part for itself."""
    parts = [source.choice(row) if source.random() < 0.6 else row[source.choice((0, 1))] for row in _CHOICES]
    numbers = bytes(
        [source.randrange(len(_STATUS)), source.choice((1, 1, 2, 7, 200)), source.choice((1, 1, 17))]
    )
    return _SPLIT.join([part.encode() for part in parts]) + _SPLIT + numbers


_PARSER = ("finial.core.federation", "finial.core.federation_fetch", "finial.core.rules.federation")
_OMITS = (
    "EndpointURL.__str__", "EndpointRedirect", "Pace", "next_poll", "Judgement", "judge", "refresh_hint_for",
)  # fmt: skip
TARGET = Target("federation", corpus, check, generate, modules=_PARSER, omits=_OMITS)

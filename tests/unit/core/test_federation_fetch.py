"""Answers of bundle endpoints, what a fetched bundle is to the stored one, and when to ask again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle
from finial.core.bundle_doc import MAX_DOCUMENT_BYTES
from finial.core.errors import BundleError, FederationError
from finial.core.federation import EndpointURL
from finial.core.federation_fetch import (
    EndpointRedirect,
    Pace,
    Verdict,
    check_answer,
    judge,
    next_poll,
    redirected,
    refresh_hint_for,
)
from finial.core.rotation import Lifetime
from finial.core.rules.federation import MAX_HOPS, Answer
from support import forge

URL = EndpointURL("https://b.test/a/bundle?x")
ROOT = forge.root("b", forge.B).certificate
STORED = Bundle(trust_domain=forge.B, x509_authorities=(ROOT,), sequence=7)
EMPTY = Bundle(trust_domain=forge.B)
SECOND = timedelta(seconds=1)


def refused(answer: Answer) -> str:
    with pytest.raises(FederationError) as caught:
        redirected(URL, answer)
    assert caught.value.subject in {"b.test", ""}
    return caught.value.reason.id.removeprefix("federation-redirect-")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://c.test:8443/x", "https://c.test:8443/x"),
        ("//c.test/x", "https://c.test/x"),
        ("/x", "https://b.test/x"),
        ("../x?y", "https://b.test/x?y"),
    ],
)
def test_redirects_are_followed(status: int, location: str, target: str) -> None:
    assert redirected(URL, Answer(status=status, location=location)) == EndpointURL(target)


@pytest.mark.parametrize("status", [200, 204, 400, 404, 500, 399])
def test_what_is_no_redirect(status: int) -> None:
    assert redirected(URL, Answer(status=status, location="https://c.test")) is None


def test_redirects_that_are_not_followed() -> None:
    sound = Answer(status=302, location="https://c.test")
    assert refused(replace(sound, follow=False)) == "off"
    assert refused(replace(sound, hops=MAX_HOPS)) == "hops"
    assert redirected(URL, replace(sound, hops=MAX_HOPS - 1)) is not None
    assert refused(replace(sound, location=None)) == "status"
    assert refused(replace(sound, location="")) == "status"
    for status in (300, 304, 305):
        assert refused(replace(sound, status=status)) == "status"
    for location in ("http://c.test", "https://u:p@c.test", "a b", "https:///x", "ftp:x", "//:1"):
        assert refused(replace(sound, location=location)) == "target"


def test_our_own_redirects_are_temporary() -> None:
    for status in (302, 303, 307):
        assert EndpointRedirect(status, URL).target == URL
    for status in (200, 301, 308):
        with pytest.raises(FederationError, match="302, 303 or 307"):
            EndpointRedirect(status, URL)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=200),
        Answer(status=200, content_type="text/html", length=MAX_DOCUMENT_BYTES),
        Answer(status=200, content_type='application/json; Charset="UTF-8"', content_encoding="Identity "),
        Answer(status=200, content_type="application/json;charset=us-ascii;x"),
    ],
)
def test_answers_that_are_read(answer: Answer) -> None:
    check_answer(URL, answer)


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        (Answer(status=500), ["status"]),
        (Answer(status=206), ["status"]),
        (Answer(status=304), ["status"]),
        (Answer(status=200, length=MAX_DOCUMENT_BYTES + 1), ["large"]),
        (Answer(status=200, content_encoding="gzip"), ["encoding"]),
        (Answer(status=200, content_type="application/json; charset=utf-16"), ["encoding"]),
        (Answer(status=404, length=1 << 40, content_encoding="br"), ["status", "large", "encoding"]),
    ],
)
def test_answers_that_are_not_read(answer: Answer, reasons: list[str]) -> None:
    with pytest.raises(FederationError) as caught:
        check_answer(URL, answer)
    found = [finding.reason.id.removeprefix("federation-answer-") for finding in caught.value.findings]
    assert found == reasons


@pytest.mark.parametrize(
    ("fetched", "stored", "verdict", "reason"),
    [
        (STORED, None, Verdict.FIRST, None),
        (EMPTY, None, Verdict.FIRST, None),
        (STORED, STORED, Verdict.SAME, None),
        (replace(STORED, sequence=0), STORED, Verdict.SAME, None),
        (replace(STORED, sequence=8), STORED, Verdict.NEWER, None),
        (replace(EMPTY, sequence=8), STORED, Verdict.NEWER, None),
        (replace(EMPTY, sequence=1), EMPTY, Verdict.NEWER, None),
        (replace(EMPTY, sequence=7), STORED, Verdict.REPLACED, "federation-same-number"),
        (EMPTY, STORED, Verdict.REPLACED, "federation-unnumbered"),
        (EMPTY, replace(STORED, sequence=0), Verdict.REPLACED, None),
        (replace(EMPTY, sequence=6), STORED, Verdict.OLDER, "federation-older"),
        (replace(STORED, sequence=6), STORED, Verdict.OLDER, "federation-older"),
    ],
)
def test_verdicts(fetched: Bundle, stored: Bundle | None, verdict: Verdict, reason: str | None) -> None:
    found = judge(fetched, stored)
    assert found.verdict is verdict
    assert (found.finding and found.finding.reason.id) == reason
    assert found.takes_over == (verdict not in {Verdict.SAME, Verdict.OLDER})
    assert (found.difference is None) == (stored is None)


def test_what_an_operator_has_set_counts_until_the_next_fetch() -> None:
    for fetched in (replace(EMPTY, sequence=6), replace(EMPTY, sequence=7), EMPTY):
        found = judge(fetched, STORED, by_hand=True)
        assert (found.verdict, found.finding) == (Verdict.REPLACED, None)
    assert judge(STORED, STORED, by_hand=True).verdict is Verdict.SAME


def test_bundles_of_two_domains_are_not_judged() -> None:
    with pytest.raises(BundleError, match="b.test"):
        judge(replace(STORED, trust_domain=forge.A), STORED)


def test_when_to_ask_again() -> None:
    pace = Pace()
    hinted = {
        None: timedelta(minutes=5),
        timedelta(seconds=60): timedelta(seconds=60),
        SECOND: pace.floor,
        timedelta(days=9): pace.ceiling,
    }
    for hint, interval in hinted.items():
        assert pace.interval(replace(STORED, refresh_hint=hint)) == interval
    assert next_poll(forge.NOW, None, pace) == forge.NOW + timedelta(minutes=1)
    assert next_poll(forge.NOW, STORED, pace) == forge.NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    "changes",
    [
        {"floor": timedelta(0)},
        {"floor": timedelta(hours=2)},
        {"ceiling": timedelta(0)},
        {"default": timedelta(0)},
        {"first": -SECOND},
    ],
)
def test_bounds_that_are_none(changes: dict[str, timedelta]) -> None:
    with pytest.raises(FederationError) as caught:
        Pace(**changes)
    assert caught.value.reason.id == "federation-pace"


@pytest.mark.parametrize(
    ("ttl", "hint"),
    [
        (timedelta(minutes=1), timedelta(seconds=4)),
        (timedelta(hours=1), timedelta(minutes=4)),
        (timedelta(hours=24), timedelta(minutes=5)),
        (timedelta(days=36500), timedelta(minutes=5)),
        (timedelta(seconds=2), SECOND),
    ],
)
def test_the_hint_follows_from_the_lifetime_of_authorities(ttl: timedelta, hint: timedelta) -> None:
    assert refresh_hint_for(Lifetime(forge.NOW, forge.NOW + ttl)) == hint

"""Tokens that more than one service accepts are counted and told of, within bounds."""

from __future__ import annotations

import logging

import pytest

from finial.core.ids import SpiffeID
from finial.rpc import RpcError, StatusCode
from finial.runtime.log import TextFormatter
from finial.runtime.metrics import Counter
from finial.server.api.audiences import (
    MOST_AUDIENCES,
    MOST_CHARACTERS,
    MOST_TOLD,
    AudienceWatch,
    read_audience,
)

WEB = SpiffeID("spiffe://example.org/web")


class _Watch:
    def __init__(self, *, refuse_wide: bool = False) -> None:
        self.several, self.wide = Counter(), Counter()
        self._watch = AudienceWatch(self.several, self.wide, refuse_wide=refuse_wide)

    def look(self, *audience: str) -> tuple[int, int]:
        self._watch.look(audience, WEB)
        return self.several.value, self.wide.value


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [TextFormatter().format(record).partition("  ")[2] for record in caplog.records]


def test_one_service_is_nothing_to_speak_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "finial")
    assert _Watch().look("reports") == (0, 0)
    assert caplog.records == []


def test_several_audiences_are_counted_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "finial")
    watch = _Watch()
    assert watch.look("a", "b", "c", "d", "e") == (1, 0)
    assert watch.look("a", "b", "c", "d", "e") == (2, 0)
    assert watch.look("a", "b\n") == (3, 0)
    first, second = _lines(caplog)
    assert "JWT-SVID for several audiences" in first
    assert 'id=spiffe://example.org/web audience="a, b, c, d and 1 more"' in first
    assert "\n" not in second


@pytest.mark.parametrize(
    "value",
    ["spiffe://example.org", "spiffe://other.test", "SPIFFE://Example.org", "spiffe://a/", "spiffe://a//"],
)
def test_a_whole_trust_domain_is_warned_of_once_and_counted(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    watch = _Watch()
    assert watch.look(value) == (0, 1)
    assert watch.look(value) == (0, 2)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "JWT-SVID for a whole trust domain" in record.getMessage()


@pytest.mark.parametrize("value", ["spiffe://example.org/reports", "example.org", "https://example.org", "s"])
def test_a_service_is_no_whole_trust_domain(value: str) -> None:
    assert _Watch().look(value) == (0, 0)


def test_where_whole_trust_domains_are_refused_others_are_not(caplog: pytest.LogCaptureFixture) -> None:
    watch = _Watch(refuse_wide=True)
    with pytest.raises(RpcError) as caught:
        watch.look("a", "spiffe://example.org")
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
    assert caught.value.message == (
        "the audience 'spiffe://example.org' is a whole trust domain; name the service that is meant"
    )
    assert watch.look("spiffe://example.org/reports") == (0, 0)
    assert caplog.records == []


def test_however_many_there_are_the_log_and_the_memory_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    watch = _Watch()
    for number in range(MOST_TOLD + 10):
        watch.look(f"spiffe://{number}.test")
    assert watch.wide.value == MOST_TOLD + 10
    assert len(caplog.records) == MOST_TOLD


def test_a_long_audience_is_cut_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    _Watch().look("spiffe://" + "a" * 5000)
    (line,) = _lines(caplog)
    assert len(line) < 500


def test_an_audience_is_read_in_its_order_without_what_says_nothing() -> None:
    assert read_audience(["b", "", "a", "b"]) == ("b", "a")
    for nobody in ([], ["", ""]):
        with pytest.raises(RpcError, match="at least one audience is required") as caught:
            read_audience(nobody)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("values", [["a"] * (MOST_AUDIENCES + 1), ["a" * MOST_CHARACTERS, "b"]])
def test_more_than_a_token_has_room_for_is_refused_before_any_work(values: list[str]) -> None:
    with pytest.raises(RpcError, match="at most 1000 audiences of 16384 characters in all") as caught:
        read_audience(values)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
    assert read_audience(values[:1]) == (values[0],)

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from finial.core.errors import SpiffeIDError
from finial.core.ids import SpiffeID, TrustDomain
from finial.runtime.config.forms import (
    SOCKET,
    address,
    did_you_mean,
    form_of,
    nearest,
    read_duration,
    read_host_port,
    read_size,
    read_truth,
    revision,
    write_duration,
    write_size,
)


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("24h", 86_400),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        ("500ms", 0.5),
        ("7d", 604_800),
        ("90", 90),
        (" 90 ", 90),
        (90, 90),
        (0.25, 0.25),
        ("0", 0),
    ],
)
def test_a_duration_is_read(raw: object, seconds: float) -> None:
    assert read_duration(raw) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "raw", ["", "soon", "-5s", "5 m", "5y", "1h-30m", "h", "5m\n5", True, None, [], "\uff11s"]
)
def test_what_is_no_duration_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 30s"):
        read_duration(raw)


@pytest.mark.parametrize("raw", ["99999999999999999h", "9" * 400])
def test_a_duration_without_end_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="longer than can be counted"):
        read_duration(raw)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(hours=24), "24h"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(milliseconds=1500), "1s500ms"),
        (timedelta(0), "0s"),
    ],
)
def test_a_duration_is_written_as_it_is_read(value: timedelta, text: str) -> None:
    assert write_duration(value) == text
    assert read_duration(text) == value


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        ("256MiB", 256 << 20),
        ("4 KiB", 4096),
        ("1GiB", 1 << 30),
        ("5kB", 5000),
        ("2MB", 2_000_000),
        ("7", 7),
        (7, 7),
        ("-1", -1),
        ("3B", 3),
    ],
)
def test_a_size_is_read(raw: object, size: int) -> None:
    assert read_size(raw) == size


@pytest.mark.parametrize("raw", ["", "4 Mib", "1.5MiB", "MiB", "4MiBs", "\uff11", "9" * 40, True, None, 1.0])
def test_what_is_no_size_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        read_size(raw)


@pytest.mark.parametrize(
    ("size", "text"),
    [(256 << 20, "256MiB"), (1 << 30, "1GiB"), (1536, "1536"), (2048, "2KiB"), (0, "0"), (-1, "-1")],
)
def test_a_size_is_written_as_it_is_read(size: int, text: str) -> None:
    assert write_size(size) == text
    assert read_size(text) == size


@pytest.mark.parametrize(
    ("raw", "host", "port"),
    [
        ("127.0.0.1:8081", "127.0.0.1", 8081),
        ("[::1]:8081", "::1", 8081),
        ("server.example:0", "server.example", 0),
    ],
)
def test_an_address_is_read(raw: str, host: str, port: int) -> None:
    assert read_host_port(raw) == (host, port)
    assert address(lambda h, p: f"{h}|{p}").read(raw) == f"{host}|{port}"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("::1:8081", "in brackets"),
        ("localhost", "is not an address host:port"),
        (":8081", "is not an address host:port"),
        ("a:b", "is not an address host:port"),
        ("a b:80", "is not an address host:port"),
        ("[]:80", "is not an address host:port"),
        ("a:65536", "there is no port 65536"),
        ("a:123456", "is not an address host:port"),
        (8081, "is not an address host:port"),
    ],
)
def test_what_is_no_address_is_refused(raw: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_host_port(raw)


def test_a_truth_is_read_from_words_and_booleans() -> None:
    assert read_truth(True) is True
    assert read_truth("no") is False
    assert read_truth("TRUE") is True
    for raw in ("maybe", 1, None):
        with pytest.raises(ValueError, match="is not true or false"):
            read_truth(raw)


@pytest.mark.parametrize(
    ("hint", "raw", "value"),
    [
        (int, "12", 12),
        (int, 12, 12),
        (str, "text", "text"),
        (bool, "true", True),
        (Path, "/a/b", Path("/a/b")),
        (timedelta, "1m", timedelta(minutes=1)),
        (timedelta | None, "1m", timedelta(minutes=1)),
        (TrustDomain, "spiffe://example.org", TrustDomain("example.org")),
        (SpiffeID, "spiffe://example.org/a", SpiffeID("spiffe://example.org/a")),
        (tuple[str, ...], ["a", "b", "a"], ("a", "b")),
        (tuple[SpiffeID, ...], ("spiffe://a/b",), (SpiffeID("spiffe://a/b"),)),
        (Literal["text", "json"], "json", "json"),
        (Colour, "green", Colour.GREEN),
        (Mapping[str, Mapping[str, object]], {"a": {"b": [1]}}, {"a": {"b": [1]}}),
    ],
)
def test_each_type_has_its_form(hint: Any, raw: object, value: object) -> None:
    found = form_of(hint).read(raw)
    assert found == value
    assert (
        type(found) is type(value) or hint.__class__.__name__ == "_GenericAlias" or isinstance(found, Mapping)
    )


@pytest.mark.parametrize(
    ("hint", "raw", "why"),
    [
        (int, "a", "'a' is not a whole number"),
        (int, 1.5, "1.5 is not a whole number"),
        (int, True, "True is not a whole number"),
        (str, 5, "5 is not text"),
        (str, "", "the text is empty"),
        (Path, "~nobody-of-this-name/x", "names a user without a home folder"),
        (Path, "a\0b", "'a\\x00b' is no path"),
        (tuple[str, ...], "a", "'a' is not a list"),
        (Literal["text", "json"], "jsn", "'jsn' is none of text, json; did you mean json?"),
        (Colour, "blue", "'blue' is none of red, green"),
        (Mapping[str, Mapping[str, object]], {"a": 1}, "the value is not a table of this shape"),
    ],
)
def test_what_a_type_does_not_take_is_refused(hint: Any, raw: object, why: str) -> None:
    with pytest.raises(ValueError, match="^.*$") as caught:
        form_of(hint).read(raw)
    assert why in str(caught.value)


def test_a_type_says_itself_what_is_wrong() -> None:
    with pytest.raises(SpiffeIDError, match="upper case"):
        form_of(TrustDomain).read("Example.org")


def test_tables_cannot_be_changed() -> None:
    found = form_of(Mapping[str, Mapping[str, object]]).read({"a": {"b": 1}})
    with pytest.raises(TypeError):
        found["a"]["b"] = 2


def test_a_list_is_written_with_commas() -> None:
    form = form_of(tuple[TrustDomain, ...])
    assert form.write((TrustDomain("a"), TrustDomain("b"))) == "a, b"
    assert form.many


def test_the_path_of_a_socket_fits_into_the_kernels() -> None:
    assert SOCKET.read("/" + "x" * 106) == Path("/" + "x" * 106)
    with pytest.raises(ValueError, match="at most 107 bytes"):
        SOCKET.read("/" + "x" * 107)
    with pytest.raises(ValueError, match=r"/\\x1bxx"):
        SOCKET.read("/\x1b" + "x" * 107)


def test_a_type_without_a_form_is_a_fault() -> None:
    with pytest.raises(TypeError, match="no form goes with"):
        form_of(complex)


def test_the_nearest_word_is_named() -> None:
    assert nearest("ca_tll", ["ca_ttl", "bind"]) == "ca_ttl"
    assert nearest("zzz", ["ca_ttl"]) is None
    assert did_you_mean("x") == "; did you mean x?"
    assert not did_you_mean(None)


def test_a_revision_is_the_one_that_is_implemented_however_toml_reads_it() -> None:
    form = revision("2026-07-01")
    assert form.choices == ("2026-07-01",)
    assert form.read("2026-07-01") == form.read(date(2026, 7, 1)) == "2026-07-01"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("2026-07-02", "'2026-07-02'"),
        (date(2025, 1, 1), "'2025-01-01'"),
        (datetime(2026, 7, 1, tzinfo=UTC), r"'2026-07-01T00:00:00\+00:00'"),
        (True, "True"),
        ("", "''"),
        (["2026-07-01"], r"\['2026-07-01'\]"),
    ],
)
def test_any_other_revision_is_refused_by_naming_the_right_one(raw: object, shown: str) -> None:
    with pytest.raises(ValueError, match=f"{shown} is not the revision that is implemented: 2026-07-01"):
        revision("2026-07-01").read(raw)

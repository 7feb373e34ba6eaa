from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from finial.core.claims import EPOCH, LAST_SECOND, Claims, read_audience, read_instant, seconds
from support import forge


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, EPOCH),
        (-0.0, EPOCH),
        (1, EPOCH + timedelta(seconds=1)),
        (1.5, EPOCH + timedelta(seconds=1.5)),
        (1765456503, datetime(2025, 12, 11, 12, 35, 3, tzinfo=UTC)),
        (LAST_SECOND, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_numbers_that_are_instants(value: float, wanted: datetime) -> None:
    assert read_instant(value) == wanted


@pytest.mark.parametrize(
    "value",
    [None, True, False, "1", "", [1], {}, -1, -0.5, LAST_SECOND + 1, LAST_SECOND + 0.5, 10**400, 1e300],
)
def test_what_is_no_instant(value: object) -> None:
    assert read_instant(value) is None


def test_seconds_are_rounded_down() -> None:
    assert seconds(EPOCH + timedelta(seconds=1.999999)) == 1
    assert seconds(forge.NOW) == forge.NOW.timestamp()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("a", ("a",)),
        (["a", "b", "a"], ("a", "b", "a")),
        (("a",), ("a",)),
        ("", ()),
        ([], ()),
        (["a", ""], ()),
        (["a", 1], ()),
        (["a", None], ()),
        ([["a"]], ()),
        (None, ()),
        (1, ()),
        ({"a": "b"}, ()),
    ],
)
def test_audiences(value: object, wanted: tuple[str, ...]) -> None:
    assert read_audience(value) == wanted


def test_what_is_read_of_claims() -> None:
    full = Claims({"sub": forge.WEB, "aud": "a", "exp": 3, "nbf": 1, "iat": 2})
    assert full.subject is not None
    assert full.subject.text == forge.WEB
    assert full.audience == ("a",)
    assert [full.not_before, full.issued_at, full.expires_at] == [
        EPOCH + timedelta(seconds=n) for n in (1, 2, 3)
    ]
    assert full.subject_fault == ""
    empty = Claims({})
    assert [empty.subject, empty.expires_at, empty.not_before, empty.issued_at] == [None] * 4
    assert "missing" in empty.subject_fault
    for sub in ("", "web", "SPIFFE://a.test/web", "spiffe://a.test/web/", f"{forge.WEB}\n"):
        assert "no SPIFFE ID" in Claims({"sub": sub}).subject_fault
    assert "text" in Claims({"sub": [forge.WEB]}).subject_fault


def test_claims_are_not_shown() -> None:
    assert "private" not in repr(Claims({"sub": forge.WEB, "x": "private"}))

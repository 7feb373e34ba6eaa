from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from finial.core.errors import TokenVerifyError
from finial.core.seen_proofs import SeenProofs
from support import forge, tokens

KEY = tokens.holder().public_key()
END = tokens.NOW + timedelta(seconds=30)


def accept(seen: SeenProofs, name: str, *, until: datetime = END, now: datetime = tokens.NOW) -> str:
    try:
        seen.accept(KEY, name, until=until, now=now)
    except TokenVerifyError as refused:
        return refused.reason.id
    return ""


def test_each_proof_once() -> None:
    seen = SeenProofs()
    assert accept(seen, "one") == ""
    assert accept(seen, "one") == "wpt-used"
    assert accept(seen, "two") == ""
    assert accept(seen, "\ud800") == ""
    seen.accept(forge.key("other").public_key(), "one", until=END, now=tokens.NOW)
    assert len(seen) == 4


def test_what_has_ended_is_forgotten() -> None:
    seen = SeenProofs()
    for number in range(10):
        accept(seen, str(number), until=END + timedelta(seconds=number))
    assert accept(seen, "0", now=END - timedelta(microseconds=1)) == "wpt-used"
    assert accept(seen, "0", until=END + timedelta(seconds=99), now=END) == ""
    assert len(seen) == 10
    assert accept(seen, "x", until=END + timedelta(seconds=99), now=END + timedelta(seconds=9)) == ""
    assert len(seen) == 2


def test_a_full_memory_refuses() -> None:
    seen = SeenProofs(limit=4)
    assert [accept(seen, name) for name in ("a", "b", "c")] == ["", "", "wpt-memory-full"]
    assert accept(seen, "a") == "wpt-used"
    assert accept(seen, "c", until=END + timedelta(seconds=1), now=END) == ""
    with pytest.raises(TokenVerifyError, match="proof: "):
        SeenProofs(limit=0).accept(KEY, "a", until=END, now=tokens.NOW)


def test_whoever_floods_keeps_nobody_else_out() -> None:
    seen = SeenProofs(limit=100)
    assert [accept(seen, str(number)) for number in range(200)].count("") == 50
    other = forge.key("other").public_key()
    for number in range(25):
        seen.accept(other, str(number), until=END + timedelta(seconds=1), now=tokens.NOW)
    with pytest.raises(TokenVerifyError, match="75 proofs are remembered, 25 of them by this key"):
        seen.accept(other, "more", until=END, now=tokens.NOW)
    third = forge.key("third").public_key()
    seen.accept(third, "one", until=END, now=tokens.NOW)
    later = END + timedelta(seconds=2)
    assert accept(seen, "late", until=later, now=END) == ""  # all but those of the second key have ended
    seen.accept(other, "late", until=later, now=END)
    seen.accept(third, "late", until=later, now=END + timedelta(seconds=1))
    assert len(seen) == 3

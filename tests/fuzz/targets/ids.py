"""The SPIFFE ID parser: accepted text is canonical, refused text has findings, and nothing else happens."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
import re

from finial.core.errors import SpiffeIDError
from finial.core.ids import SpiffeID, TrustDomain
from fuzz.target import Target, refused_well

# Written anew from the standard's words, so that it does not share mistakes with the parser.
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_SEGMENT = _NAME | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PIECES = [
    "spiffe://",
    "a.test",
    "/",
    "//",
    ".",
    "..",
    "a",
    "A",
    "%41",
    "?",
    "#",
    "@",
    ":",
    "\n",
    "\u212a",
    "x" * 255,
    "_",
    "-",
]


def valid(text: str) -> bool:
    """Whether the text is a SPIFFE ID, decided character by character."""
    if not text.startswith("spiffe://") or len(text.encode("utf-8", "surrogatepass")) > 2048:
        return False
    name, slash, path = text[len("spiffe://") :].partition("/")
    if not 1 <= len(name) <= 255 or not set(name) <= _NAME:
        return False
    segments = path.split("/") if slash else []
    return all(segment and segment not in {".", ".."} and set(segment) <= _SEGMENT for segment in segments)


def check(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        spiffe_id = SpiffeID(text)
    except SpiffeIDError as refused:
        refused_well(refused)
        assert not valid(text)
        return
    assert valid(text)
    assert spiffe_id.text == text
    assert SpiffeID.from_path(TrustDomain(spiffe_id.trust_domain.name), spiffe_id.path) == spiffe_id
    assert re.fullmatch("[!-~]+", text)


def generate(source: random.Random) -> bytes:
    start = "spiffe://" if source.random() < 0.9 else ""
    text = start + "".join(source.choice(_PIECES) for _ in range(source.randint(0, 12)))
    return text.encode()


def corpus() -> list[bytes]:
    texts = [
        "spiffe://a.test",
        "spiffe://a.test/web",
        "spiffe://10.0.0.1/A/b.c/d-e_f",
        f"spiffe://a/{'x' * 2037}",
    ]
    return [text.encode() for text in texts]


_PARSER = ("finial.core.ids", "finial.core.rules.spiffe_id")
TARGET = Target("ids", corpus, check, generate, budget_s=0.02, budget_s_per_kib=0.001, modules=_PARSER)

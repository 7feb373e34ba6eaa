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
    for reader in _READERS:
        try:
            reader(text)
        except SpiffeIDError as refused:
            refused_well(refused)
    try:
        spiffe_id = SpiffeID(text)
    except SpiffeIDError as refused:
        refused_well(refused)
        assert not valid(text)
        return
    assert valid(text)
    assert str(spiffe_id) == spiffe_id.text == text
    assert {spiffe_id, SpiffeID(text)} == {spiffe_id}
    domain = TrustDomain(spiffe_id.trust_domain.name)
    assert SpiffeID.from_path(domain, spiffe_id.path) == spiffe_id
    assert SpiffeID.from_parts(domain, *spiffe_id.path.split("/")[1:]) == spiffe_id
    assert spiffe_id.member_of(domain)
    assert str(domain) == domain.name
    assert {domain, spiffe_id.trust_domain} == {domain}
    assert spiffe_id.reserved == (spiffe_id.path.split("/")[1:2] == ["spire"])
    assert re.fullmatch("[!-~]+", text)


def _name(text: str) -> None:
    """A name is what can stand in an ID of its own, and its two spellings are one trust domain."""
    found = TrustDomain.from_name_or_id(text)
    assert valid(found.id.text)
    assert found.id.trust_domain == TrustDomain(found.name) == TrustDomain.from_name_or_id(found.id.text)


def _below(text: str) -> None:
    """Nothing that is put behind a trust domain leads out of it."""
    assert SpiffeID.from_path(_A, text).trust_domain == _A
    assert SpiffeID.from_parts(_A, text).path == f"/{text}"


def generate(source: random.Random) -> bytes:
    start = "spiffe://" if source.random() < 0.8 else ""
    text = start + "".join(source.choice(_PIECES) for _ in range(source.randint(0, 12)))
    return text.encode()


def corpus() -> list[bytes]:
    texts = [
        "spiffe://a.test",
        "spiffe://a.test/web",
        "spiffe://10.0.0.1/A/b.c/d-e_f",
        "spiffe://a.test/spire/server",
        "/web/db",
        "a.test",
        f"spiffe://a/{'x' * 2037}",
    ]
    return [text.encode() for text in texts]


_A = TrustDomain("a.test")
_READERS = (_name, _below)
_PARSER = ("finial.core.ids", "finial.core.rules.spiffe_id")
_OMITS = ("SpiffeID.parse", "SpiffeID.__lt__", "TrustDomain.__lt__", "_not_text", "server_id", "is_agent_id")
TARGET = Target(
    "ids", corpus, check, generate, budget_s=0.02, budget_s_per_kib=0.001, modules=_PARSER, omits=_OMITS
)

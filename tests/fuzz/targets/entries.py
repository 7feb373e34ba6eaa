"""Encoded entries, as they come from callers and from the database: a value that round-trips, or findings."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections.abc import Callable
from typing import Any

from finial.core.entry import RegistrationEntry
from finial.core.errors import RefusedError, SelectorError
from finial.core.selectors import Selector, canonical
from finial.wire import entryframes, registry
from finial.wire.gen import spire_api_types as types
from finial.wire.methods import decoder
from finial.wire.registry import SetFilter
from fuzz.target import Target, refused_well

_PATHS = ("/web", "/web", "/web", "", "/spire/x", "/a/../b")
_DOMAINS = ("a.test", "a.test", "a.test", "b.test", "A", "")
_TYPES = ("unix", "unix", "docker", "", "a:b", "\u00e9")
_VALUES = ("uid:0", "uid:1", "gid:0", "", "\u00e9\n", "x" * 300)
_MATCHES: tuple[Any, ...] = (0, 1, 2, 3, 9)
_FILTERS: tuple[tuple[Callable[[bytes], Any], Callable[[Any], SetFilter[Any]]], ...] = (
    (decoder(types.SelectorMatch), registry.read_selector_match),
    (decoder(types.FederatesWithMatch), registry.read_federates_with_match),
)
_NAMES: tuple[list[str], ...] = ([], [], ["a.test"], ["*.a.test", ".", "a..b"], ["a.test", "a.test"], ["\n"])


def check(data: bytes) -> None:
    try:
        entry = registry.decode_entry(data)
    except RefusedError as refused:
        refused_well(refused)
    else:
        _sound(entry)
    _selector(data.decode("utf-8", "replace"))
    _filters(data)


def _sound(entry: RegistrationEntry) -> None:
    assert entry.selectors == canonical(entry.selectors)
    assert entry.trust_domain not in entry.federates_with
    assert entry.similar(entry)
    assert entry.spiffe_id.path
    assert not entry.spiffe_id.reserved
    try:
        kept = entryframes.keep(entry)
    except RefusedError as refused:
        refused_well(refused)
        return
    assert registry.decode_entry(kept.data) == entry
    assert types.Entry.FromString(kept.data) == registry.entry_message(entry)
    seen = types.Entry.FromString(entryframes.agent_prefix(kept))
    assert seen.id == entry.id
    assert not seen.dns_names
    assert not seen.HasField("parent_id")


def _selector(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except SelectorError as refused:
        refused_well(refused)
    else:
        assert str(selector) == text
        assert ":" not in selector.type


def _filters(data: bytes) -> None:
    """What filters listings: of any bytes that are such a message."""
    for decode, read in _FILTERS:
        try:
            message = decode(data)
        except ValueError:
            continue
        try:
            found = read(message)
        except RefusedError as refused:
            refused_well(refused)
        else:
            assert found.given
            assert found.matches(found.given)


def _selectors(source: random.Random) -> list[types.Selector]:
    return [_one(source) for _ in range(source.choice((0, 1, 1, 2, 3)))]


def _one(source: random.Random) -> types.Selector:
    odd = source.random() < 0.2
    return types.Selector(
        type=source.choice(_TYPES if odd else _TYPES[:3]),
        value=source.choice(_VALUES if odd else _VALUES[:3]),
    )


def _entry(source: random.Random) -> types.Entry:
    """An entry that is mostly sound."""
    made = types.Entry(
        id=source.choice(["e1", "e1", "e1", "", "x" * 255, "x" * 256, "a/b"]),
        spiffe_id=types.SPIFFEID(trust_domain="a.test", path=source.choice(_PATHS)),
        parent_id=types.SPIFFEID(trust_domain=source.choice(_DOMAINS), path="/node"),
        selectors=_selectors(source),
        x509_svid_ttl=source.choice([0, 60, -1, 2**31 - 1]),
        federates_with=source.choice([[], [], ["b.test", "b.test"], ["a.test"], ["x y"]]),
        expires_at=source.choice([0, 0, 1, -1, 2**62]),
        dns_names=source.choice(_NAMES),
        hint=source.choice(["", "", "h", "h" * 1025]),
        revision_number=source.choice([0, 0, 7, -1]),
        store_svid=source.random() < 0.3,
    )
    made.additional_attributes.disable_x509_svid_prefetch = source.random() < 0.3
    return made


def corpus() -> list[bytes]:
    source = random.Random(7)
    sound = types.Entry(
        id="e1",
        spiffe_id=types.SPIFFEID(trust_domain="a.test", path="/web"),
        parent_id=types.SPIFFEID(trust_domain="a.test", path="/node"),
        selectors=[types.Selector(type="unix", value="uid:0")],
    )
    selectors = [types.SelectorMatch(selectors=sound.selectors, match=match) for match in _MATCHES]
    domains = [types.FederatesWithMatch(trust_domains=["b.test"], match=match) for match in _MATCHES]
    made = [sound, *(_entry(source) for _ in range(40)), *selectors, *domains]
    return [*(each.SerializeToString() for each in made), b"unix:uid:0", b":", b"\n\x01A", b""]


def generate(source: random.Random) -> bytes:
    if source.random() < 0.1:
        match = source.choice(_MATCHES)
        return types.SelectorMatch(selectors=_selectors(source), match=match).SerializeToString()
    return _entry(source).SerializeToString()


_PARSER = ("finial.wire.registry", "finial.core.entry", "finial.core.selectors", "finial.core.dns")
_OMITS = ("read_domain", "RegistrationEntry.expired", "RegistrationEntry.check_domain")
TARGET = Target("entries", corpus, check, generate, modules=_PARSER, omits=_OMITS)

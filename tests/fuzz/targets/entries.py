"""Encoded entries, as they come from callers and from the database: a value that round-trips, or findings."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.core.errors import RefusedError
from finial.wire import entryframes, registry
from finial.wire.gen import spire_api_types as types
from fuzz.target import Target, refused_well

_PATHS = ["/web", "", "/spire/x", "/a/../b"]
_TYPES = ["unix", "", "a:b"]
_VALUES = ["uid:0", "", "\u00e9"]


def check(data: bytes) -> None:
    try:
        entry = registry.decode_entry(data)
    except RefusedError as refused:
        refused_well(refused)
        return
    try:
        kept = entryframes.keep(entry)
    except RefusedError as refused:
        refused_well(refused)
        return
    assert registry.decode_entry(kept.data) == entry
    seen = types.Entry.FromString(entryframes.agent_prefix(kept))
    assert seen.id == entry.id
    assert not seen.dns_names
    assert not seen.HasField("parent_id")


def _entry(source: random.Random) -> types.Entry:
    return types.Entry(
        id=source.choice(["e1", "", "x" * 255, "x" * 256, "a/b"]),
        spiffe_id=types.SPIFFEID(trust_domain="a.test", path=source.choice(_PATHS)),
        parent_id=types.SPIFFEID(trust_domain=source.choice(["a.test", "b.test"]), path="/node"),
        selectors=[
            types.Selector(type=source.choice(_TYPES), value=source.choice(_VALUES))
            for _ in range(source.randrange(4))
        ],
        x509_svid_ttl=source.choice([0, 60, -1, 2**31 - 1]),
        expires_at=source.choice([0, 1, -1, 2**62]),
        dns_names=source.choice([[], ["a.test"], ["*.a.test", ".", "a..b"]]),
        hint=source.choice(["", "h", "h" * 1025]),
    )


def corpus() -> list[bytes]:
    source = random.Random(7)
    return [_entry(source).SerializeToString() for _ in range(40)]


def generate(source: random.Random) -> bytes:
    return _entry(source).SerializeToString()


_PARSER = ("finial.wire.registry", "finial.wire.entryframes", "finial.core.entry", "finial.core.selectors")
TARGET = Target("entries", corpus, check, generate, modules=_PARSER)

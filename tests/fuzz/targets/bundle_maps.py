"""The bundle map: read whole or refused, and what is read comes back the same after writing."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded

from finial.core.bundle import BundleSet
from finial.core.bundle_map import read_bundle_map, write_bundle_map
from finial.core.errors import BundleError
from fuzz import stock
from fuzz.target import Target, refused_well
from fuzz.targets import bundles
from support import forge

_NAMES = ["a.test", "b.test", "A.test", "spiffe://a.test", "", "a\u00e9", "x" * 256, "a_b"]


def check(data: bytes) -> None:
    try:
        found = read_bundle_map(data)
    except BundleError as refused:
        refused_well(refused)
        return
    for finding in (*found.skipped, *found.broken):
        assert str(finding).isprintable()
        assert finding.where.startswith("trust_domains[")
    for domain, bundle in found.bundles.items():
        assert bundle.trust_domain == domain
        assert bundle.refresh_hint is None
        assert found.sequences[domain] == bundle.sequence
    again = read_bundle_map(write_bundle_map(found.bundles))
    assert again.bundles == found.bundles
    assert not again.skipped
    assert not again.broken


def corpus() -> list[bytes]:
    both = BundleSet(forge.bundle(domain, stock.root("one", domain)) for domain in (forge.A, forge.B))
    return [write_bundle_map(both), write_bundle_map(BundleSet()), b'{"trust_domains":{"a":{"keys":[]}}}']


def generate(source: random.Random) -> bytes:
    members = [
        f"{json.dumps(source.choice(_NAMES[:2] if source.random() < 0.7 else _NAMES))}:{_bundle(source)}"
        for _ in range(source.randint(0, 3))
    ]
    held = f"{{{','.join(members)}}}" if source.random() < 0.95 else source.choice(["null", "[]", "7"])
    more = ',"trust_domains":{}' if source.random() < 0.05 else ""
    return f'{{"trust_domains":{held}{more}}}'.encode()


def _bundle(source: random.Random) -> str:
    if source.random() < 0.05:
        return source.choice(["null", "[]", '"x"', "{}"])
    text = bundles.generate(source).decode()
    return text[:-1] + ',"refresh_hint":1}' if source.random() < 0.1 and text.endswith("}") else text


_PARSER = ("finial.core.bundle_map", "finial.core.bundle_doc", "finial.core.rules.bundle")
_OMITS = ("read_bundle", "write_bundle", "write_jwks", "write_wit_jwks", "_key_set")
TARGET = Target("bundle_maps", corpus, check, generate, modules=_PARSER, omits=_OMITS)

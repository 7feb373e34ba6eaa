"""The bundle map: read whole or not at all, written sorted and without hints."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_map import MAX_MAP_BYTES, ReadBundleMap, read_bundle_map, write_bundle_map
from finial.core.errors import BundleError
from finial.core.rules.bundle import MAX_DOMAINS
from support import forge, tokens

ROOT_A, ROOT_B = forge.root("a"), forge.root("b", forge.B)
JWT, WIT = (tokens.authority(kid)[0] for kid in ("j", "w"))
BUNDLE_A = Bundle(
    trust_domain=forge.A,
    x509_authorities=(ROOT_A.certificate,),
    jwt_authorities=(JWT,),
    wit_authorities=(WIT,),
    sequence=7,
)
BUNDLE_B = Bundle(trust_domain=forge.B, x509_authorities=(ROOT_B.certificate,), sequence=2)
BOTH = BundleSet([BUNDLE_B, BUNDLE_A])


def refusals(text: str | bytes) -> list[str]:
    with pytest.raises(BundleError) as caught:
        read_bundle_map(text.encode() if isinstance(text, str) else text)
    return [f"{finding.reason.id} {finding.where}".strip() for finding in caught.value.findings]


def a_map(**members: object) -> str:
    return json.dumps({"trust_domains": {name.replace("_", "."): value for name, value in members.items()}})


def test_a_map_comes_back() -> None:
    data = write_bundle_map(BOTH)
    assert read_bundle_map(data) == ReadBundleMap(BOTH)
    assert list(json.loads(data)["trust_domains"]) == ["a.test", "b.test"]
    assert write_bundle_map(BundleSet()) == b'{\n    "trust_domains": {}\n}'
    assert read_bundle_map(write_bundle_map(BundleSet())).bundles == BundleSet()


def test_hints_are_neither_written_nor_read() -> None:
    hinted = BundleSet([replace(BUNDLE_A, refresh_hint=timedelta(seconds=1))])
    assert b"refresh_hint" not in write_bundle_map(hinted)
    one = {"keys": [], "refresh_hint": "soon", "spiffe_refresh_hint": -1}
    found = read_bundle_map(a_map(a_test={"keys": [], "spiffe_refresh_hint": 1}, b_test=one).encode())
    assert [bundle.refresh_hint for bundle in found.bundles.values()] == [None, None]
    assert not found.broken
    assert [str(finding) for finding in found.skipped] == [
        "trust_domains['a.test']: spiffe_refresh_hint is of no effect here",
        "trust_domains['b.test']: spiffe_refresh_hint is of no effect here",
        "trust_domains['b.test']: refresh_hint is of no effect here",
    ]


def test_broken_entries_are_reported_with_their_place() -> None:
    odd = {"keys": [{"kty": "XYZ"}, 7, {"use": "x509-svid", "kty": "EC", "x5c": ["!"]}], "spiffe_sequence": 3}
    found = read_bundle_map(a_map(a_test=odd, b_test={"keys": []}).encode())
    assert found.bundles == BundleSet(
        [Bundle(trust_domain=forge.A, sequence=3), Bundle(trust_domain=forge.B)]
    )
    assert [finding.where for finding in found.skipped] == ["trust_domains['a.test'].keys[0]"]
    assert [finding.where for finding in found.broken] == [
        "trust_domains['a.test'].keys[1]",
        "trust_domains['a.test'].keys[2]",
    ]
    assert found.sequences == {forge.A: 3, forge.B: 0}


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"trust_domains":{}}x', '{"trust_domains":NaN}'])
def test_what_is_not_json(text: str) -> None:
    assert refusals(text) == ["bundle-json"]


@pytest.mark.parametrize("value", [None, [], "x", 7])
def test_the_domains_have_to_be_an_object(value: object) -> None:
    assert refusals("{}") == ["bundle-map-domains"]
    assert refusals(json.dumps({"trust_domains": value})) == ["bundle-map-domains"]


def test_everything_that_fails_a_map_is_listed() -> None:
    good: dict[str, object] = {"keys": []}
    members = {
        "a.test": {},
        "A.test": good,
        "spiffe://b.test": good,
        "": good,
        "b.test": [],
        "c.test": good,
        "d.test": {"keys": [], "spiffe_sequence": True},
    }
    assert refusals(json.dumps({"trust_domains": members})) == [
        "bundle-keys trust_domains['a.test']",
        "bundle-map-name trust_domains['A.test']",
        "bundle-map-name trust_domains['spiffe://b.test']",
        "bundle-map-name trust_domains['']",
        "bundle-map-bundle trust_domains['b.test']",
        "bundle-sequence trust_domains['d.test']",
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"trust_domains":{"a.test":{"keys":[]},"a.test":{"keys":[]}}}',
        '{"trust_domains":{},"trust_domains":{}}',
        '{"trust_domains":{"a.test":{"keys":[],"keys":[]}}}',
        '{"trust_domains":{"a.test":{"keys":[{"kty":"EC","kty":"EC"}]}}}',
        '{"trust_domains":{},"other":[{"a":1,"a":1}]}',
    ],
)
def test_a_key_that_stands_twice(text: str) -> None:
    assert refusals(text) == ["bundle-map-duplicate-key"]


def test_size_is_bounded() -> None:
    assert refusals(b" " * (MAX_MAP_BYTES + 1)) == ["bundle-large"]
    many = {f"d{number}": 0 for number in range(MAX_DOMAINS + 1)}
    assert refusals(json.dumps({"trust_domains": many})) == ["bundle-large"]

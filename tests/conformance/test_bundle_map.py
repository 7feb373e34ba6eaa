"""The bundle map: several trust domains in one document, each authoritative under its own name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_map import read_bundle_map, write_bundle_map
from finial.core.errors import BundleError, SpiffeIDError
from finial.core.ids import TrustDomain
from support import forge, tokens

BUNDLES = BundleSet(
    [
        replace(
            forge.bundle(forge.A, forge.root("a")), jwt_authorities=(tokens.authority("j")[0],), sequence=7
        ),
        replace(forge.bundle(forge.B, forge.root("b", forge.B)), sequence=2),
    ]
)


def refusal(text: str) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle_map(text.encode())
    return caught.value.reason.id


@pytest.mark.spec("BUNDLE-31", "BUNDLE-32", "BUNDLE-33", "BUNDLE-35")
def test_each_bundle_stays_under_its_name() -> None:
    data = write_bundle_map(BUNDLES)
    assert list(json.loads(data)) == ["trust_domains"]
    assert list(json.loads(data)["trust_domains"]) == ["a.test", "b.test"]
    assert read_bundle_map(data).bundles == BUNDLES


@pytest.mark.spec("BUNDLE-33", "BUNDLE-34")
def test_the_domains_are_there_and_may_be_none() -> None:
    assert refusal("{}") == "bundle-map-domains"
    assert refusal('{"trust_domains":null}') == "bundle-map-domains"
    assert read_bundle_map(b'{"trust_domains":{},"other":[1.5]}').bundles == BundleSet()
    assert json.loads(write_bundle_map(BundleSet())) == {"trust_domains": {}}


@pytest.mark.spec("BUNDLE-35", "BUNDLE-36")
@pytest.mark.parametrize("name", ["spiffe://a.test", "A.test", "a.test:1", "", "a/b", "x" * 256])
def test_keys_are_names_of_trust_domains(name: str) -> None:
    text = json.dumps({"trust_domains": {"a.test": {"keys": []}, name: {"keys": []}}})
    assert refusal(text) == "bundle-map-name"
    with pytest.raises(SpiffeIDError):
        TrustDomain(name)


@pytest.mark.spec("BUNDLE-36", "BUNDLE-37", "BUNDLE-47")
def test_no_name_stands_twice() -> None:
    bundle = '{"keys":[]}'
    assert refusal(f'{{"trust_domains":{{"a":{bundle},"a":{bundle}}}}}') == "bundle-map-duplicate-key"
    assert refusal('{"trust_domains":{"a":{"keys":[{"use":1,"use":1}]}}}') == "bundle-map-duplicate-key"
    with pytest.raises(BundleError):
        write_bundle_map(BundleSet([Bundle(trust_domain=forge.A), Bundle(trust_domain=forge.A, sequence=1)]))


@pytest.mark.spec("BUNDLE-38", "BUNDLE-39")
def test_hints_inside_are_neither_written_nor_of_effect() -> None:
    hinted = BundleSet([replace(BUNDLES[forge.A], refresh_hint=timedelta(seconds=1))])
    data = write_bundle_map(hinted)
    assert b"refresh_hint" not in data
    for name in ("spiffe_refresh_hint", "refresh_hint"):
        found = read_bundle_map(json.dumps({"trust_domains": {"a.test": {"keys": [], name: 1}}}).encode())
        assert found.bundles[forge.A].refresh_hint is None
        assert [finding.reason.id for finding in found.skipped] == ["bundle-map-hint"]


@pytest.mark.spec("BUNDLE-40")
def test_who_writes_a_map_chooses_what_is_in_it() -> None:
    assert read_bundle_map(write_bundle_map(BUNDLES.without(forge.B))).bundles == BundleSet(
        [BUNDLES[forge.A]]
    )


@pytest.mark.spec("BUNDLE-41")
def test_a_map_is_the_state_of_the_world_or_nothing() -> None:
    # What was held before plays no part: a domain that is not in the new map is gone.
    assert read_bundle_map(write_bundle_map(BUNDLES.without(forge.A))).bundles.bundle_for(forge.A) is None
    for broken in ("{}", '{"keys":null}', "[]", "null", '{"keys":[],"spiffe_sequence":-1}'):
        with pytest.raises(BundleError):
            read_bundle_map(f'{{"trust_domains":{{"a":{{"keys":[]}},"b":{broken}}}}}'.encode())
    # An entry that is broken is not a broken bundle.
    found = read_bundle_map(b'{"trust_domains":{"a":{"keys":[7]}}}')
    assert [finding.where for finding in found.broken] == ["trust_domains['a'].keys[0]"]


@pytest.mark.spec("BUNDLE-42")
def test_how_new_each_bundle_is_can_be_told() -> None:
    assert read_bundle_map(write_bundle_map(BUNDLES)).sequences == {forge.A: 7, forge.B: 2}

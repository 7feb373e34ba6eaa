"""Bundle documents, selectors, PEM and rotation: what goes out comes back, and order holds."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.bundle_change import difference, merged
from finial.core.bundle_doc import read_bundle, write_bundle
from finial.core.errors import BundleError, PEMError
from finial.core.rotation import Lifetime, longest_svid_ttl, prune_at
from finial.core.selectors import Selector, SetMatch, canonical, set_matches
from support import forge, tokens

# Machines that are busy with other things make no input slow.
CALM = settings(deadline=None)

ROOTS = [forge.root(f"root {number}").certificate for number in range(4)]
ROOTS += [forge.root("rsa", own_key=forge.key("p", "rsa-2048")).certificate]
ROOTS += [forge.root("ed", own_key=forge.key("p", "ed25519")).certificate]

JWT = [tokens.authority(f"j{number}")[0] for number in range(3)]
WIT = [tokens.authority(f"w{number}", "ec-p384")[0] for number in range(3)]

BUNDLES = st.builds(
    Bundle,
    trust_domain=st.just(forge.A),
    x509_authorities=st.lists(st.sampled_from(ROOTS), max_size=6).map(tuple),
    jwt_authorities=st.lists(st.sampled_from(JWT), max_size=3, unique=True).map(tuple),
    wit_authorities=st.lists(st.sampled_from(WIT), max_size=3, unique=True).map(tuple),
    sequence=st.integers(0, 2**64 - 1),
    refresh_hint=st.none() | st.integers(1, 10**13).map(lambda seconds: timedelta(seconds=seconds)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SELECTORS = st.builds(
    Selector, type=st.sampled_from(["unix", "k8s", "docker"]), value=st.text("ab:1", min_size=1, max_size=3)
)
SETS = st.frozensets(SELECTORS, max_size=5)
LENGTHS = st.timedeltas(timedelta(seconds=1), timedelta(days=36500))


@CALM
@given(BUNDLES)
def test_a_bundle_comes_back(bundle: Bundle) -> None:
    found = read_bundle(forge.A, write_bundle(bundle))
    assert found.bundle == bundle
    assert not (found.skipped)
    assert not (found.broken)


@CALM
@given(BUNDLES, BUNDLES)
def test_what_came_and_what_went_leads_from_one_bundle_to_the_other(old: Bundle, new: Bundle) -> None:
    found = difference(old, new)
    assert bool(found) == (not old.same_content(new) or old.sequence != new.sequence)
    for before, after, change in (
        (old.x509_authorities, new.x509_authorities, found.x509),
        (old.jwt_authorities, new.jwt_authorities, found.jwt),
        (old.wit_authorities, new.wit_authorities, found.wit),
    ):
        assert {*before}.difference(change.went) | {*change.came} == {*after}
    both = merged(old, new)
    assert merged(both, old) == merged(both, new) == both
    assert not any(side.went for side in (difference(new, both).x509, difference(new, both).jwt))


@CALM
@given(st.lists(JSON, max_size=4), JSON, JSON)
def test_any_json_is_read_or_refused(keys: list[object], sequence: object, hint: object) -> None:
    document = {"keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": hint}
    try:
        found = read_bundle(forge.A, json.dumps(document).encode())
    except BundleError as refused:
        assert {finding.reason.id for finding in refused.findings} <= {"bundle-sequence", "bundle-json"}  # noqa: PT017
    else:
        assert found.bundle.x509_authorities == ()


@CALM
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (pem.read_blocks, lambda data: read_bundle(forge.A, data)):
        with suppress(PEMError, BundleError):
            read(data)


@CALM
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_pem_comes_back(ders: list[bytes]) -> None:
    assert pem.read_certificates(pem.write(pem.CERTIFICATE, ders)) == tuple(ders)


@CALM
@given(SELECTORS)
def test_a_selector_comes_back(selector: Selector) -> None:
    assert Selector.parse(str(selector)) == selector


@CALM
@given(st.lists(SELECTORS))
def test_the_canonical_form_is_one(selectors: list[Selector]) -> None:
    form = canonical(selectors)
    assert form == canonical(reversed(selectors)) == canonical(form)
    assert set(form) == set(selectors)


@CALM
@given(SETS, SETS.filter(bool))
def test_comparisons_imply_each_other(stored: frozenset[Selector], given_: frozenset[Selector]) -> None:
    how = {kind: set_matches(stored, given_, kind) for kind in SetMatch}
    assert how[SetMatch.EXACT] == (how[SetMatch.SUBSET] and how[SetMatch.SUPERSET])
    assert how[SetMatch.ANY] or not (how[SetMatch.SUBSET] or how[SetMatch.SUPERSET])


@CALM
@given(LENGTHS, st.floats(0, 1))
def test_instants_come_in_order(length: timedelta, spread: float) -> None:
    life = Lifetime(forge.NOW, forge.NOW + length)
    assert life.begin < life.prepare_at() <= life.activate_at() < life.end < prune_at(life.end)
    assert life.begin < life.renew_at(spread) < life.end
    assert longest_svid_ttl(length) == life.end - life.activate_at()

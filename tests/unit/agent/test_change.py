from __future__ import annotations

from dataclasses import replace

import pytest

from finial.agent.change import EVERY_PROFILE, Change, Profile, merged, profiles_of_change
from finial.core.bundle import Bundle
from support import forge, tokens
from support.books import entry
from support.forge import A, B

ROOT = forge.root().certificate
K1, K2 = tokens.authority("k1")[0], tokens.authority("k2")[0]
OWN = Bundle(trust_domain=A, x509_authorities=(ROOT,), jwt_authorities=(K1,), wit_authorities=(K2,))


@pytest.mark.parametrize(
    ("new", "profiles"),
    [
        (OWN, set()),
        (replace(OWN, sequence=7), set()),
        (replace(OWN, tainted=frozenset({ROOT})), set()),
        (replace(OWN, x509_authorities=(ROOT, forge.root("other").certificate)), {Profile.X509}),
        (replace(OWN, jwt_authorities=()), {Profile.JWT}),
        (replace(OWN, jwt_authorities=(replace(K1, tainted=True),)), {Profile.JWT}),
        (replace(OWN, jwt_authorities=(K2,), wit_authorities=(K1,)), {Profile.JWT, Profile.WIT}),
        (None, EVERY_PROFILE),
    ],
)
def test_whose_bundle_is_another(new: Bundle | None, profiles: set[Profile]) -> None:
    assert profiles_of_change(OWN, new) == profiles
    assert profiles_of_change(new, OWN) == profiles


def test_no_bundle_and_no_bundle_are_the_same() -> None:
    assert profiles_of_change(None, None) == frozenset()


def test_several_changes_are_one() -> None:
    e1, e2 = entry("e1"), entry("e2")
    first = Change(frozenset({"e1"}), (e1,), frozenset({Profile.X509}))
    second = Change(frozenset({"e2"}), (e2,), frozenset({Profile.JWT}), frozenset({(B, Profile.WIT)}))
    both = merged([first, second])
    assert both == Change(
        frozenset({"e1", "e2"}),
        (e1, e2),
        frozenset({Profile.X509, Profile.JWT}),
        frozenset({(B, Profile.WIT)}),
    )
    assert both
    assert not merged([])

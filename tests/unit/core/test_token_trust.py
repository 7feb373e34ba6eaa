from __future__ import annotations

from collections.abc import Mapping

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import Finding
from finial.core.ids import TrustDomain
from finial.core.jwtsvid import JWTSVID
from finial.core.token_authority import TokenAuthority
from finial.core.token_trust import JWT_USE, MAX_KEYS_TRIED, WIT_USE, find_signer
from finial.core.witsvid import WITSVID
from support import forge, tokens

K1, _ = tokens.authority()
OTHER, _ = tokens.authority("other")
P384, _ = tokens.authority("k384", "ec-p384")
RSA, _ = tokens.authority("rsa", "rsa-2048")
BARE = tokens.jwt(header={"kid": ...})


def found(token: str, *authorities: TokenAuthority) -> TokenAuthority | str:
    signer = find_signer(JWTSVID(token).signed(), tokens.bundles(*authorities), JWT_USE)
    return signer.reason.id if isinstance(signer, Finding) else signer


def forged(header: Mapping[str, object]) -> str:
    """The header of one key over the signature of another."""
    return tokens.jwt(header=header)


def test_the_named_key_and_no_other() -> None:
    assert found(tokens.jwt(), OTHER, K1) is K1
    assert found(tokens.jwt(), OTHER, P384) == "token-unknown-key"
    assert found(forged({"kid": "other"}), K1, OTHER) == "token-signature"
    assert found(forged({"kid": "K1"}), K1) == "token-unknown-key"


def test_the_kind_of_the_key_decides_before_it_verifies() -> None:
    assert found(forged({"kid": "k384"}), K1, P384) == "token-key-kind"
    assert found(forged({"kid": "rsa"}), K1, RSA) == "token-key-kind"
    assert found(forged({"alg": "RS256"}), K1, RSA) == "token-key-kind"
    assert found(tokens.jwt(kid="rsa", kind="rsa-2048", header={"alg": "PS256"}), RSA) == "token-signature"


def test_without_a_name_each_key_that_fits_is_tried() -> None:
    assert found(BARE, OTHER, P384, RSA, K1) is K1
    assert found(BARE, OTHER, P384) == "token-signature"
    assert found(BARE, P384, RSA) == "token-unknown-key"


def test_without_a_name_no_more_keys_are_tried_than_is_cheap() -> None:
    many = [TokenAuthority(key_id=f"m{n}", key=OTHER.key) for n in range(MAX_KEYS_TRIED)]
    assert found(BARE, *many[1:], K1) is K1
    assert found(BARE, *many, K1) == "token-keys-many"
    assert found(BARE, *many[1:], K1, P384, RSA) is K1
    assert found(tokens.jwt(), *many, K1) is K1


def test_a_tainted_key_is_trusted_still() -> None:
    tainted, _ = tokens.authority(tainted=True)
    assert found(tokens.jwt(), tainted) is tainted


def test_bundles_that_do_not_count() -> None:
    class Wrong:
        def bundle_for(self, trust_domain: TrustDomain) -> Bundle:
            return Bundle(trust_domain=forge.B, jwt_authorities=(K1,))

    assert found(tokens.jwt()) == "token-no-keys"
    for source in (tokens.bundles(K1, domain=forge.B), Wrong()):
        signer = find_signer(JWTSVID(tokens.jwt()).signed(), source, JWT_USE)
        assert isinstance(signer, Finding)
        assert signer.reason.id == "token-no-bundle"


@pytest.mark.parametrize("swapped", [False, True])
def test_each_use_has_its_own_keys(swapped: bool) -> None:
    w1, _ = tokens.authority("w1")
    jwt, wit = ((w1,), (K1,)) if swapped else ((K1,), (w1,))
    bundles = tokens.bundles(*jwt, wit=wit)
    signers = [
        find_signer(JWTSVID(tokens.jwt()).signed(), bundles, JWT_USE),
        find_signer(WITSVID(tokens.wit()).signed(), bundles, WIT_USE),
    ]
    assert [isinstance(signer, Finding) for signer in signers] == [swapped, swapped]

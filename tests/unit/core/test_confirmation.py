from __future__ import annotations

import pytest

from finial.core import confirmation, jwk
from finial.core.algorithms import Algorithm, algorithm_of
from finial.core.confirmation import Confirmation
from finial.core.rules.engine import Stage
from finial.core.rules.wit import CONFIRMATION
from support import forge, tokens

PUBLIC = tokens.holder().public_key()
GOOD = tokens.confirmation()
RSA = tokens.confirmation("rsa-2048")


def fault(value: object) -> str:
    finding = CONFIRMATION.first(Confirmation(value), Stage.PARSE)
    return "" if finding is None else finding.reason.id


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048"])
def test_both_ways(kind: str) -> None:
    key = tokens.holder(kind).public_key()
    value = confirmation.write(key, algorithm_of(key))
    found = Confirmation(value)
    assert fault(value) == ""
    assert (found.key, found.algorithm) == (key, algorithm_of(key))


def test_rsa_keys_may_sign_by_either_padding() -> None:
    found = Confirmation(tokens.confirmation("rsa-2048", alg="PS512"))
    assert found.algorithm is Algorithm.PS512
    assert fault(tokens.confirmation("rsa-2048", alg="PS512")) == ""


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, "wit-no-confirmation"),
        ("jwk", "wit-no-confirmation"),
        ([], "wit-no-confirmation"),
        ({}, "wit-no-confirmation"),
        ({"kid": "x"}, "wit-no-confirmation"),
        ({"x5t#S256": "x"}, "wit-no-confirmation"),
        ({"jwe": "x"}, "wit-no-confirmation"),
        ({"jwk": None}, "wit-no-confirmation"),
        ({"jwk": "x"}, "wit-no-confirmation"),
        ({**GOOD, "jwe": "x"}, "wit-no-confirmation"),
        ({**GOOD, "jku": "https://evil.test"}, "wit-no-confirmation"),
        ({**GOOD, "kid": "x"}, ""),
        (tokens.confirmation(d="AA"), "wit-confirmation-secret"),
        (tokens.confirmation(k="AA"), "wit-confirmation-secret"),
        ({"jwk": {"kty": "oct", "alg": "HS256"}}, "wit-confirmation-secret"),
        (tokens.confirmation(alg=...), "wit-confirmation-algorithm"),
        (tokens.confirmation(alg=["ES256"]), "wit-confirmation-algorithm"),
        (tokens.confirmation(alg="none"), "wit-confirmation-algorithm"),
        (tokens.confirmation(alg="ECDH-ES"), "wit-confirmation-algorithm"),
        (tokens.confirmation(x=...), "wit-confirmation-key"),
        (tokens.confirmation(x="AA"), "wit-confirmation-key"),
        (tokens.confirmation("rsa-2048", e="Aw"), "wit-confirmation-key"),
        (tokens.confirmation(alg="ES384"), "wit-confirmation-kind"),
        (tokens.confirmation(alg="RS256"), "wit-confirmation-kind"),
        (tokens.confirmation("rsa-2048", alg="ES256"), "wit-confirmation-kind"),
        (
            {"jwk": {**jwk.write_public(forge.key("x", "ed25519").public_key()), "alg": "ES256"}},
            "wit-confirmation-kind",
        ),
        (tokens.confirmation(use="sig", further=[1]), ""),
    ],
)
def test_what_a_confirmation_may_be(value: object, wanted: str) -> None:
    assert fault(value) == wanted


def test_a_secret_is_neither_read_nor_shown() -> None:
    found = Confirmation(tokens.confirmation(d="verysecret"))
    assert found.key is None
    assert "verysecret" not in repr(found)

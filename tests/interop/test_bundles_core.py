"""Bundle documents between our core and go-spiffe, the one library that reads and writes them, both ways."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle, write_bundle, write_wit_jwks
from finial.core.keys import public_key_der
from finial.core.token_authority import TokenAuthority
from support import forge, tokens
from support.judge import GO, Judge, Judging, data_of, keys_of

KINDS = ("ec-p256", "ec-p384", "ec-p521", "rsa-2048")
ROOTS = tuple(forge.root(kind, own_key=forge.key(kind, kind)).certificate for kind in KINDS)
JWT = tuple(tokens.authority(f"jwt {kind}", kind)[0] for kind in KINDS)
WIT = tuple(tokens.authority(f"wit {kind}", kind)[0] for kind in KINDS)
FULL = Bundle(
    trust_domain=forge.A,
    x509_authorities=ROOTS,
    jwt_authorities=JWT,
    wit_authorities=WIT,
    sequence=2**64 - 1,
    refresh_hint=timedelta(minutes=5),
)
BUNDLES = {
    "full": FULL,
    "x509": replace(FULL, jwt_authorities=(), wit_authorities=()),
    "jwt": replace(FULL, x509_authorities=(), wit_authorities=()),
    "wit": replace(FULL, x509_authorities=(), jwt_authorities=()),
    "bare": replace(FULL, sequence=0, refresh_hint=None),
    "ed25519": Bundle(
        trust_domain=forge.A,
        x509_authorities=(forge.root("edwards", own_key=forge.key("edwards", "ed25519")).certificate,),
    ),
    "empty": Bundle(trust_domain=forge.A),
    "odd key ids": Bundle(
        trust_domain=forge.A,
        jwt_authorities=tuple(
            tokens.authority(kid)[0] for kid in ("a", "A", "\u00e4", "\u2028", '"', "\\", "x" * 1024)
        ),
    ),
}

pytestmark = pytest.mark.parametrize("library", [GO], ids=["go-spiffe"], indirect=True)


def _ders(authorities: Iterable[TokenAuthority]) -> dict[str, bytes]:
    return {each.key_id: public_key_der(each.key) for each in authorities}


@pytest.mark.parametrize("name", BUNDLES)
def test_go_spiffe_reads_what_we_write_and_we_read_what_it_writes(judging: Judging, name: str) -> None:
    bundle = BUNDLES[name]

    async def main(judge: Judge) -> None:
        found = await judge.accept("bundle", trust_domain="a.test", document=write_bundle(bundle))
        assert data_of(found["x509"]) == {each.der for each in bundle.x509_authorities}
        assert keys_of(found["jwt"]) == _ders(bundle.jwt_authorities)
        assert keys_of(found["wit"]) == _ders(bundle.wit_authorities)
        assert found.get("sequence", 0) == bundle.sequence
        hint = bundle.refresh_hint
        assert found.get("refresh_hint") == (None if hint is None else hint.total_seconds())
        written = base64.b64decode(found["document"])
        if name == "empty":
            # Its list of keys is null, which its own reader refuses, too. spec: BUNDLE-19
            assert json.loads(written) == {"keys": None}
            return
        again = read_bundle(forge.A, written)
        assert again.bundle.same_content(bundle)
        assert again.bundle.sequence == bundle.sequence
        assert not (again.skipped)
        assert not (again.broken)

    judging(main)


def test_go_spiffe_reads_our_keys_for_wit_svids(judging: Judging) -> None:
    async def main(judge: Judge) -> None:
        document = write_wit_jwks(FULL)
        found = await judge.accept("keys", trust_domain="a.test", document=document)
        assert keys_of(found["jwt"]) == _ders(WIT)

    judging(main)

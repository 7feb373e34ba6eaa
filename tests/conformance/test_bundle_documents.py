"""Bundle documents as SPIRE and go-spiffe write them: read whole, and written by us just as SPIRE does."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle, write_bundle, write_jwks
from finial.core.errors import BundleError
from finial.core.keys import PublicKey
from finial.core.x509cert import Certificate
from support import forge, tokens

EC_ROOT = forge.root("ec")
RSA_ROOT = forge.root("rsa", own_key=forge.key("rsa", "rsa-2048"))
EC_KEY, RSA_KEY = tokens.authority("ec", "ec-p384")[0], tokens.authority("rsa", "rsa-2048")[0]
WIT_KEY = tokens.authority("wit")[0]
FULL = Bundle(
    trust_domain=forge.A,
    x509_authorities=(EC_ROOT.certificate, RSA_ROOT.certificate),
    jwt_authorities=(EC_KEY, RSA_KEY),
    sequence=1,
    refresh_hint=timedelta(minutes=10),
)


def number(value: int, size: int = 0) -> str:
    """A number as a JWK has it."""
    data = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def parameters(key: PublicKey | None) -> dict[str, str]:
    """What a JWK says of a key, in go-jose's order, put together without the code under test."""
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        return {"n": number(public.n), "e": number(public.e)}
    assert isinstance(key, ec.EllipticCurvePublicKey)
    size = (key.curve.key_size + 7) // 8
    point = key.public_numbers()
    return {"crv": f"P-{key.curve.key_size}", "x": number(point.x, size), "y": number(point.y, size)}


def kty(key: PublicKey | None) -> str:
    return "RSA" if isinstance(key, rsa.RSAPublicKey) else "EC"


def x509_entry(root: Certificate) -> dict[str, object]:
    x5c = [base64.b64encode(root.der).decode()]
    return {"use": "x509-svid", "kty": kty(root.key), **parameters(root.key), "x5c": x5c}


def entries(bundle: Bundle, *, uses: bool = True) -> list[dict[str, object]]:
    """The entries of a document, X.509 first."""
    found = [x509_entry(root) for root in bundle.x509_authorities if uses]
    for use, authorities in (("jwt-svid", bundle.jwt_authorities), ("wit-svid", bundle.wit_authorities)):
        for each in authorities:
            own: dict[str, object] = {"kty": kty(each.key), "kid": each.key_id, **parameters(each.key)}
            found.append({"use": use, **own} if uses else own)
    return found


def spire(bundle: Bundle) -> bytes:
    """The document as SPIRE lays it out: four spaces, numbers left out when they are 0."""
    document: dict[str, object] = {"keys": entries(bundle)}
    if bundle.sequence:
        document["spiffe_sequence"] = bundle.sequence
    if bundle.refresh_hint:
        document["spiffe_refresh_hint"] = int(bundle.refresh_hint.total_seconds())
    return json.dumps(document, indent=4).encode()


def go_spiffe(bundle: Bundle) -> bytes:
    """The document as go-spiffe lays it out: no spaces; tokens' keys in any order, since it keeps a map."""
    held = entries(bundle)
    held.sort(key=lambda entry: entry["use"] != "x509-svid" and str(entry.get("kid")) != "rsa")
    document: dict[str, object] = {"keys": held}
    if bundle.sequence:
        document["spiffe_sequence"] = bundle.sequence
    if bundle.refresh_hint:
        document["spiffe_refresh_hint"] = int(bundle.refresh_hint.total_seconds())
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "bundle",
    [
        FULL,
        replace(FULL, sequence=0, refresh_hint=None),
        replace(FULL, jwt_authorities=()),
        replace(FULL, x509_authorities=(), sequence=2**64 - 1),
        replace(FULL, wit_authorities=(WIT_KEY,)),
        Bundle(trust_domain=forge.A),
    ],
)
@pytest.mark.spec("BUNDLE-09", "BUNDLE-12", "BUNDLE-15", "X509-48", "JWT-33")
def test_documents_of_spire_and_of_go_spiffe_come_back(bundle: Bundle) -> None:
    found = read_bundle(forge.A, spire(bundle))
    assert (found.bundle, found.skipped, found.broken) == (bundle, (), ())
    assert write_bundle(bundle) == spire(bundle)
    found = read_bundle(forge.A, go_spiffe(bundle))
    assert found.bundle.same_content(bundle)
    assert found.bundle.sequence == bundle.sequence
    assert (found.skipped, found.broken) == ((), ())


@pytest.mark.spec("BUNDLE-19")
def test_the_empty_document_of_go_spiffe_is_refused_as_it_refuses_it_itself() -> None:
    with pytest.raises(BundleError):
        read_bundle(forge.A, b'{"keys":null}')


@pytest.mark.spec("JWT-38", "WAPI-49", "WAPI-50")
def test_workloads_get_a_plain_key_set_with_keys_for_jwt_svids_alone() -> None:
    bundle = replace(FULL, wit_authorities=(WIT_KEY,))
    without_uses = entries(replace(FULL, wit_authorities=()), uses=False)
    assert json.loads(write_jwks(bundle)) == {"keys": without_uses}
    assert list(json.loads(write_jwks(bundle))["keys"][0]) == ["kty", "kid", "crv", "x", "y"]


def test_a_key_id_may_be_any_text_escaped_or_not() -> None:
    document = json.loads(spire(FULL))
    document["keys"][2]["kid"] = "schlüssel"
    for escaped in (True, False):
        found = read_bundle(forge.A, json.dumps(document, ensure_ascii=escaped).encode())
        assert [each.key_id for each in found.bundle.jwt_authorities] == ["schlüssel", "rsa"]
        again = read_bundle(forge.A, write_bundle(found.bundle)).bundle
        assert again == found.bundle

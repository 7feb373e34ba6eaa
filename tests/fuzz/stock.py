"""Keys, certificates and tokens that are the same in each process.

Input n of a seed is mutated from a corpus, so nothing in a corpus may hang on chance: keys follow from their
names, serial numbers from what is certified, and signatures from what is signed.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from finial.core import algorithms, jwk
from finial.core.algorithms import Algorithm, algorithm_of
from finial.core.ids import TrustDomain
from finial.core.keys import PrivateKey, public_key_der
from finial.core.token_authority import TokenAuthority
from support import forge, tokens

_CURVES: dict[str, ec.EllipticCurve] = {
    "ec-p256": ec.SECP256R1(),
    "ec-p384": ec.SECP384R1(),
    "ec-p521": ec.SECP521R1(),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_P = int(
    "d9ffd0d1f8903b97f500c04239c3efeb9e935f636040857ee3fcd0e179e322ac3d4c74a7f5835eedbeff2f3a99a274bb"
    "b6b13a89fafa55ad5ec57c0443e1fe67d1b329629ccab491c7cc00a66c213eae2b645e33d488fc13075939468e99f9e5"
    "1474103d2f54d5108b0701388a74cdcb0d7d79fb5902559284eab1b02da7fda9",
    16,
)
_Q = int(
    "cc7abc47c41890b66e469b6ff8f942adc194dc12fa4c3b98dc205ecfa04e5189944c601d90ac61361b36153d88f32b02"
    "b5e559071401aa2997655d52f25f2193f44f185afb0c460c0fa2a64aa70666292a4b939d9b8d594c5ba1bb31e7e5ebf9"
    "0b41b3bf35bf699908b7518d10a62e1f136d17616342b3e53661fd7155954c13",
    16,
)
_E = 65537


@cache
def key(name: str, kind: str = "ec-p256") -> PrivateKey:
    """The key of this name and kind; there is one RSA key only."""
    if kind == "rsa-2048":
        return _rsa()
    seed = hashlib.shake_256(f"{kind} {name}".encode()).digest(32)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    return ec.derive_private_key(int.from_bytes(seed[:31], "big"), _CURVES[kind])


def _rsa() -> rsa.RSAPrivateKey:
    d = pow(_E, -1, (_P - 1) * (_Q - 1))
    numbers = rsa.RSAPublicNumbers(_E, _P * _Q)
    parts = (rsa.rsa_crt_dmp1(d, _P), rsa.rsa_crt_dmq1(d, _Q), rsa.rsa_crt_iqmp(_P, _Q))
    return rsa.RSAPrivateNumbers(_P, _Q, d, *parts, numbers).private_key()


def root(name: str = "root", domain: TrustDomain = forge.A, /, **changes: Any) -> forge.Made:
    """A sound self-signed authority, except for the changes."""
    return authority(name, None, domain, **changes)


def authority(
    name: str, issuer: forge.Made | None, domain: TrustDomain = forge.A, /, **changes: Any
) -> forge.Made:
    """A sound signing certificate, except for the changes."""
    own = {"own_key": key(name), **changes}
    return _settled(forge.authority(name, issuer, domain, serial=_serial(own, issuer), **own), issuer)


def leaf(issuer: forge.Made, uri: str = forge.WEB, /, **changes: Any) -> forge.Made:
    """A sound X.509-SVID, except for the changes."""
    own = {"own_key": key("leaf"), **changes}
    return _settled(forge.leaf(issuer, uri, serial=_serial({**own, "uri": uri}, issuer), **own), issuer)


def request(*names: x509.GeneralName, subject: str = "") -> bytes:
    """A certificate signing request for these names, in DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key("request"), hashes.SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(Encoding.DER)


def token_authority(kid: str = "k1", kind: str = "ec-p256", **changes: Any) -> TokenAuthority:
    """A key for tokens as a bundle has it; `key` has its private half under `token` and its id."""
    return TokenAuthority(key_id=kid, key=key(f"token {kid}", kind).public_key(), **changes)


def signed(header: object, payload: object, signer: PrivateKey, by: Algorithm | None = None) -> str:
    """A token of exactly this header and payload, whatever they are.

    Args:
        header: Bytes as they are, anything else as JSON.
        payload: The same.
        signer: Signs it.
        by: How, with an RSA key; PS256 draws its salt, so it has no place in a corpus.
    """
    head = f"{tokens.text(header)}.{tokens.text(payload)}"
    return f"{head}.{tokens.text(_signature(signer, head.encode(), by))}"


def jwt(**claims: object) -> str:
    """A sound JWT-SVID of the key k1, except for the changes; `...` takes a claim out."""
    body = {"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": tokens.SECONDS + 300, **claims}
    header = {"alg": "ES256", "kid": "k1", "typ": "JWT"}
    return signed(header, tokens.without(body), key("token k1"))


def wit(**claims: object) -> str:
    """A sound WIT-SVID of the key w1 for the key `holder`, except for the changes."""
    body = {"sub": forge.WEB, "exp": tokens.SECONDS + 3600, "cnf": confirmation(), **claims}
    header = {"alg": "ES256", "kid": "w1", "typ": "wit+jwt"}
    return signed(header, tokens.without(body), key("token w1"))


def confirmation() -> dict[str, object]:
    """The claim cnf of a WIT-SVID for the key `holder`."""
    return {"jwk": {**jwk.write_public(key("holder").public_key()), "alg": "ES256"}}


def proof(token: str, **claims: object) -> str:
    """A sound proof by the key `holder`, except for the changes."""
    body = {
        "aud": tokens.TARGET,
        "exp": tokens.SECONDS + 20,
        "jti": "j",
        "wth": tokens.digest(token),
        **claims,
    }
    header = {"alg": "ES256", "typ": "wpt+jwt"}
    return signed(header, body, key("holder"))


def _signature(signer: PrivateKey, data: bytes, by: Algorithm | None) -> bytes:
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        return algorithms.sign(signer, by or algorithm_of(signer), data)
    how = ec.ECDSA(_HASHES[signer.curve.name], deterministic_signing=True)
    size = (signer.curve.key_size + 7) // 8
    return b"".join(each.to_bytes(size, "big") for each in decode_dss_signature(signer.sign(data, how)))


def _serial(what: dict[str, Any], issuer: forge.Made | None) -> int:
    changes = {name: value for name, value in what.items() if name != "own_key"}
    whole = repr(sorted(changes.items())).encode() + public_key_der(what["own_key"].public_key())
    return 1 + int.from_bytes(hashlib.sha256(whole + (issuer.der if issuer else b"")).digest()[:8], "big")


def _settled(made: forge.Made, issuer: forge.Made | None) -> forge.Made:
    """The same, with a signature that follows from the rest."""
    signer = issuer.key if issuer else made.key
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        return made
    tbs, algorithm, _ = forge.elements(made.der)
    signature = signer.sign(tbs, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return forge.Made(forge.tlv(0x30, tbs, algorithm, forge.tlv(0x03, b"\0", signature)), made.key)

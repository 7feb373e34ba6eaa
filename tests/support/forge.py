"""A forge of certificates, good and bad, for tests. Keys are made once per process and kept.

What `cryptography` refuses to build (old hashes, disagreeing algorithms, serial zero, minimum of a name
constraint) is put together from DER by `rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from finial.core.bundle import Bundle, BundleSet
from finial.core.der import Cutter
from finial.core.errors import FinialError
from finial.core.ids import TrustDomain
from finial.core.keys import PrivateKey, write_private_key
from finial.core.x509cert import Certificate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
A = TrustDomain("a.test")
B = TrustDomain("b.test")
WEB = "spiffe://a.test/web"

BOTH_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_USAGES = {
    "digitalSignature": "digital_signature",
    "contentCommitment": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}


def key(name: str = "leaf", kind: str = "ec-p256") -> PrivateKey:
    """The key of this name and kind; the same one each time."""
    return _key(name, kind)


@cache
def _key(name: str, kind: str) -> PrivateKey:
    match kind:
        case "ec-p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ec-p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ec-p521":
            return ec.generate_private_key(ec.SECP521R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    der: bytes
    key: PrivateKey

    @property
    def certificate(self) -> Certificate:
        return Certificate.parse(self.der)

    @property
    def x509(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @property
    def key_der(self) -> bytes:
        return write_private_key(self.key)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{argument: usage in usages for usage, argument in _USAGES.items()})


def make(
    common_name: str,
    *,
    issuer: Made | None = None,
    own_key: PrivateKey | None = None,
    uris: Sequence[str] = (),
    others: Sequence[x509.GeneralName] = (),
    ca: bool | None = None,
    path_length: int | None = None,
    usages: Sequence[str] | None = None,
    usage_critical: bool = True,
    purposes: Sequence[x509.ObjectIdentifier] | None = None,
    constraints: x509.NameConstraints | None = None,
    extra: Iterable[tuple[x509.ExtensionType, bool]] = (),
    identified: bool = True,
    names_critical: bool = False,
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + DAY,
    serial: int | None = None,
    rsa_padding: padding.PSS | None = None,
) -> Made:
    """A certificate with exactly these extensions, signed by the issuer or by itself."""
    own_key = own_key or key(common_name)
    signer = issuer.key if issuer else own_key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(issuer.x509.subject if issuer else name(common_name))
        .public_key(own_key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if usages is not None:
        extensions.append((key_usage(*usages), usage_critical))
    if purposes is not None:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    if ca is not None:
        extensions.append((x509.BasicConstraints(ca, path_length), True))
    if identified:
        extensions.append((x509.SubjectKeyIdentifier.from_public_key(own_key.public_key()), False))
        if issuer:
            issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
            extensions.append((issuer_id, False))
    names = [*others, *map(x509.UniformResourceIdentifier, uris)]
    if names:
        extensions.append((x509.SubjectAlternativeName(names), names_critical))
    if constraints is not None:
        extensions.append((constraints, True))
    for extension, critical in [*extensions, *extra]:
        builder = builder.add_extension(extension, critical=critical)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.sign(signer, digest, rsa_padding=rsa_padding)
    return Made(signed.public_bytes(Encoding.DER), own_key)


def root(common_name: str = "root", domain: TrustDomain = A, **changes: Any) -> Made:
    """A sound self-signed authority, except for the changes."""
    return authority(common_name, None, domain, **changes)


def authority(common_name: str, issuer: Made | None, domain: TrustDomain = A, /, **changes: Any) -> Made:
    """A sound signing certificate, except for the changes."""
    settings: dict[str, Any] = {
        "ca": True,
        "usages": ("keyCertSign", "cRLSign"),
        "uris": (domain.id.text,),
        **changes,
    }
    return make(common_name, issuer=issuer, **settings)


def leaf(issuer: Made, uri: str = WEB, /, **changes: Any) -> Made:
    """A sound X.509-SVID, except for the changes."""
    settings: dict[str, Any] = {
        "common_name": "leaf",
        "ca": False,
        "usages": ("digitalSignature", "keyEncipherment", "keyAgreement"),
        "purposes": BOTH_PURPOSES,
        "uris": (uri,),
        **changes,
    }
    return make(issuer=issuer, **settings)


def constraints(
    permitted: Sequence[x509.GeneralName] = (), excluded: Sequence[x509.GeneralName] = ()
) -> x509.NameConstraints:
    return x509.NameConstraints(list(permitted) or None, list(excluded) or None)


def bundle(domain: TrustDomain, *authorities: Made) -> Bundle:
    return Bundle(trust_domain=domain, x509_authorities=tuple(made.certificate for made in authorities))


def bundles(**authorities: Made | Sequence[Made]) -> BundleSet:
    """A set of bundles; `a=...` for a.test, `b=...` for b.test."""
    domains = {"a": A, "b": B}
    return BundleSet(
        bundle(domains[letter], *((made,) if isinstance(made, Made) else made))
        for letter, made in authorities.items()
    )


# DER by hand


def tlv(tag: int, *content: bytes) -> bytes:
    """One DER element."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray([first * 40 + second])
    for arc in rest:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return tlv(0x06, bytes(out))


SHA256_ECDSA = tlv(0x30, oid("1.2.840.10045.4.3.2"))
SHA1_ECDSA = tlv(0x30, oid("1.2.840.10045.4.1"))
SHA224_ECDSA = tlv(0x30, oid("1.2.840.10045.4.3.1"))
UNKNOWN_ALGORITHM = tlv(0x30, oid("1.3.6.1.4.1.99999.1"))


def _refuse(why: str) -> FinialError:
    raise AssertionError(why)


def elements(der: bytes, depth: int = 0) -> list[bytes]:
    """The elements inside the outermost SEQUENCE, or inside the first element of that, and so on."""
    cutter = Cutter(der, _refuse)
    for _ in range(depth + 1):
        cutter = cutter.enter(0x30)
    found: list[bytes] = []
    while not cutter.done:
        found.append(cutter.take())
    return found


def rebuild(
    made: Made,
    signer: Made,
    parts: Mapping[int, bytes] | None = None,
    *,
    algorithm: bytes = SHA256_ECDSA,
    digest: hashes.HashAlgorithm | None = None,
) -> Made:
    """A certificate with some elements of its signed part replaced, signed anew by an EC key.

    The parts are: 0 version, 1 serial, 2 algorithm, 3 issuer, 4 validity, 5 subject, 6 key, 7 extensions.
    """
    replaced = elements(made.der, 1)
    for at, der in (parts or {}).items():
        replaced[at] = der
    tbs = tlv(0x30, *replaced)
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = signer.key.sign(tbs, ec.ECDSA(digest or hashes.SHA256()))
    return Made(tlv(0x30, tbs, algorithm, tlv(0x03, b"\0", signature)), made.key)


def with_extensions(made: Made, signer: Made, changes: Mapping[str, bytes | None]) -> Made:
    """A certificate whose extensions of these object identifiers have other raw values; None removes one."""
    raw = raw_extensions(made)
    kept = {dotted: der for dotted, der in raw.items() if changes.get(dotted, b"") is not None}
    for dotted, value in changes.items():
        if value is not None:
            kept[dotted] = tlv(0x30, oid(dotted), tlv(0x01, b"\xff"), tlv(0x04, value))
    return rebuild(made, signer, {7: tlv(0xA3, tlv(0x30, *kept.values()))})


def raw_extensions(made: Made) -> dict[str, bytes]:
    """The extensions of a certificate in DER, by object identifier."""
    outer = Cutter(elements(made.der, 1)[7], _refuse).enter(0xA3).enter(0x30)
    found: dict[str, bytes] = {}
    by_oid = {oid(e.oid.dotted_string): e.oid.dotted_string for e in made.x509.extensions}
    while not outer.done:
        der = outer.take()
        found[by_oid[elements(der)[0]]] = der
    return found


def flipped(der: bytes, at: int, bit: int = 1) -> bytes:
    """The same bytes with one bit changed."""
    changed = bytearray(der)
    changed[at] ^= bit
    return bytes(changed)


def unreadable_to_openssl(domain: TrustDomain = A) -> Certificate:
    """An authority that we can read, and OpenSSL cannot: its name is text of a kind that nobody knows."""
    der = root("odd", domain).der
    common_name = bytes.fromhex("0603550403")
    odd = der.replace(common_name + b"\x0c", common_name + b"\x77")
    assert odd != der
    return Certificate.parse(odd)

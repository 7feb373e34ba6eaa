"""The SPIFFE bundle document: JSON to a bundle and back, as far as X.509 goes.

Reading is lenient where the standard tells it to be and nowhere else: an entry of unknown kind or use, or
one that is broken, is passed over and reported, and never takes the others with it (BUNDLE-20, BUNDLE-28,
BUNDLE-30, X509-50). A sequence number that is none fails the document, since accepting it could let an older
bundle replace a newer one; a refresh hint that is none is passed over, since it is only a hint.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from finial.core.bundle import Bundle
from finial.core.errors import BundleError, Finding, X509ParseError, shown, translated
from finial.core.ids import TrustDomain
from finial.core.keys import PublicKey
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import DOCUMENT, ENTRY, HINT, PASSED_OVER, UNREAD, X509_USE
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY
from finial.core.x509cert import Certificate

MAX_DOCUMENT_BYTES = 4 << 20
MAX_DEPTH = 16

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
# A string, also one without its end, or one bracket. What a quote opens is consumed: the scan is linear.
_SHAPE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """What was in a document.

    Args:
        bundle: What can be used of it.
        skipped: What the standard says to pass over: entries of unknown type or use, or without certificate.
        broken: What claims to be usable and is not; worth telling the publisher.
        unread: Entries for JWT-SVIDs and WIT-SVIDs: known, but not part of the bundle that is read here.
    """

    bundle: Bundle
    skipped: tuple[Finding, ...] = ()
    broken: tuple[Finding, ...] = ()
    unread: tuple[Finding, ...] = ()


def read_bundle(trust_domain: TrustDomain, data: bytes) -> ReadBundle:
    """The bundle that a document describes.

    Args:
        trust_domain: Whose bundle it is; the document does not say.
        data: JSON in UTF-8 without a byte order mark, at most 4 MiB.

    Raises:
        BundleError: Not such a document as a whole. spec: BUNDLE-19, BUNDLE-47
    """
    document = _read_json(data)
    failing = DOCUMENT.findings(document, Stage.PARSE)
    if failing:
        raise BundleError(failing, subject=trust_domain.name)
    broken_hint = HINT.findings(document, Stage.PARSE, "spiffe_refresh_hint")
    entries, sequence, seconds = (
        document["keys"],
        document.get("spiffe_sequence"),
        document.get("spiffe_refresh_hint"),
    )
    reader = _Entries()
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        reader.read(entry, f"keys[{number}]")
    bundle = Bundle(
        trust_domain=trust_domain,
        x509_authorities=tuple(reader.authorities),
        sequence=sequence if isinstance(sequence, int) else 0,
        refresh_hint=timedelta(seconds=seconds)
        if isinstance(seconds, int) and seconds and not broken_hint
        else None,
    )
    broken = (*broken_hint, *reader.broken)
    return ReadBundle(bundle, tuple(reader.skipped), broken, tuple(reader.unread))


def write_bundle(bundle: Bundle) -> bytes:
    """The document of a bundle, laid out as SPIRE does it: four spaces, members without value left out.

    A refresh hint with a fraction of a second is rounded up (BUNDLE-17). An authority whose key is not of a
    kind that has JWK parameters here is left out, since nobody could verify with it.
    """
    document: dict[str, object] = {
        "keys": [_write_entry(a, a.key) for a in bundle.x509_authorities if a.key is not None]
    }
    if bundle.sequence:
        document["spiffe_sequence"] = bundle.sequence
    if bundle.refresh_hint is not None:
        document["spiffe_refresh_hint"] = -(-bundle.refresh_hint // timedelta(seconds=1))
    return json.dumps(document, indent=4).encode("ascii")


class _Entries:
    """Collects what the entries of `keys` come to."""

    def __init__(self) -> None:
        self.authorities: list[Certificate] = []
        self.skipped: list[Finding] = []
        self.broken: list[Finding] = []
        self.unread: list[Finding] = []

    def read(self, entry: object, where: str) -> None:
        """Sort one entry into the lists."""
        if not isinstance(entry, dict):
            self.broken.append(Finding(reasons.ENTRY_NOT_OBJECT, "the entry is not an object", where))
            return
        finding = ENTRY.first(entry, Stage.PARSE, where)
        if finding is None:
            self._read_certificate(entry["x5c"][0], where)
        elif finding.reason in PASSED_OVER:
            self.skipped.append(finding)
        elif finding.reason in UNREAD:
            self.unread.append(finding)
        else:
            self.broken.append(finding)

    def _read_certificate(self, text: str, where: str) -> None:
        try:
            certificate = Certificate.parse(base64.b64decode(text, validate=True), where)
        except ValueError:  # binascii.Error is one, and so is the one for text that is not ASCII
            self.broken.append(Finding(reasons.ENTRY_CERTIFICATE, "x5c is not base64", where))
        except X509ParseError as refused:
            found = refused.findings[0]
            self.broken.append(Finding(reasons.ENTRY_CERTIFICATE, f"the certificate {found.message}", where))
        else:
            findings = AUTHORITY.findings(certificate, Stage.PARSE, where)
            self.broken += [Finding(reasons.ENTRY_CERTIFICATE, found.message, where) for found in findings]
            if not findings:
                self.authorities.append(certificate)


def _read_json(data: bytes) -> dict[str, object]:
    if len(data) > MAX_DOCUMENT_BYTES:
        message = f"the document has {len(data)} bytes, at most {MAX_DOCUMENT_BYTES} are read"
        raise BundleError.because(reasons.BUNDLE_LARGE, message)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as caught:
        raise _not_json("it is not UTF-8") from caught
    _check_depth(text)
    # Numbers with a fraction stay text, so that none of them can pass for the integer that it equals.
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_Fraction, parse_constant=_no_constant)
    document = translated(lambda: decoder.decode(text), _not_json)
    if not isinstance(document, dict):
        raise _not_json("it is not an object")
    return document


class _Fraction(str):
    """A JSON number that is not written as an integer."""

    __slots__ = ()


def _no_constant(name: str) -> NoReturn:
    raise _not_json(f"{name} is no JSON")


def _not_json(why: str) -> BundleError:
    return BundleError.because(reasons.BUNDLE_JSON, f"the document is no JSON object: {why}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        last = {name: at for at, (name, _) in enumerate(pairs)}
        # The one whose last value replaced an earlier one.
        twice = next(name for at, (name, _) in enumerate(pairs) if last[name] != at)
        message = f"the key {shown(twice)} stands twice in one object"
        raise BundleError.because(reasons.BUNDLE_DUPLICATE_KEY, message)
    return found


def _check_depth(text: str) -> None:
    # The decoder recurses; what it does with deep nesting depends on the stack that it is called on.
    depth = 0
    for token in _SHAPE.finditer(text):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if depth > MAX_DEPTH:
            raise _not_json(f"it nests deeper than {MAX_DEPTH}")


def _write_entry(certificate: Certificate, key: PublicKey) -> dict[str, object]:
    # No kid, and nothing beyond the parameters of the key. spec: X509-42..X509-48, BUNDLE-26..BUNDLE-29
    return {
        "use": X509_USE,
        **_write_key(key),
        "x5c": [base64.b64encode(certificate.der).decode("ascii")],
    }


def _write_key(key: PublicKey) -> dict[str, object]:
    match key:
        case ec.EllipticCurvePublicKey():
            numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
            crv = _CURVES[key.curve.name]
            return {"kty": "EC", "crv": crv, "x": _url64(numbers.x, size), "y": _url64(numbers.y, size)}
        case rsa.RSAPublicKey():
            public, size = key.public_numbers(), (key.key_size + 7) // 8
            exponent = _url64(public.e, (public.e.bit_length() + 7) // 8)
            return {"kty": "RSA", "n": _url64(public.n, size), "e": exponent}
    return {"kty": "OKP", "crv": "Ed25519", "x": _text64(key.public_bytes_raw())}


def _url64(number: int, size: int) -> str:
    return _text64(number.to_bytes(size, "big"))


def _text64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")

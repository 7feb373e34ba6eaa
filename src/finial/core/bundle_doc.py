"""The SPIFFE bundle document: JSON to a bundle and back, as far as X.509 goes.

Reading is lenient where the standard tells it to be and nowhere else: an entry of unknown kind or use, or
one that is broken, is passed over and reported, and never takes the others with it (BUNDLE-20, BUNDLE-28,
BUNDLE-30, X509-50). A sequence number that is none fails the document, since accepting it could let an older
bundle replace a newer one; a refresh hint that is none is passed over, since it is only a hint.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta

from finial.core import jwk
from finial.core.bundle import Bundle
from finial.core.errors import BundleError, Finding, X509ParseError
from finial.core.ids import TrustDomain
from finial.core.keys import PublicKey
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import DOCUMENT, ENTRY, HINT, PASSED_OVER, UNREAD, X509_USE
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY
from finial.core.strictjson import ObjectReader
from finial.core.x509cert import Certificate

MAX_DOCUMENT_BYTES = 4 << 20
MAX_DEPTH = 16

_READER = ObjectReader(
    what="the document",
    most_bytes=MAX_DOCUMENT_BYTES,
    most_depth=MAX_DEPTH,
    error=BundleError,
    large=reasons.BUNDLE_LARGE,
    malformed=reasons.BUNDLE_JSON,
    duplicate=reasons.BUNDLE_DUPLICATE_KEY,
)


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
    document = _READER.read(data)
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


def _write_entry(certificate: Certificate, key: PublicKey) -> dict[str, object]:
    # No kid, and nothing beyond the parameters of the key. spec: X509-42..X509-48, BUNDLE-26..BUNDLE-29
    return {
        "use": X509_USE,
        **jwk.write_public(key),
        "x5c": [base64.b64encode(certificate.der).decode("ascii")],
    }

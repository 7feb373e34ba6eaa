"""The SPIFFE bundle document: JSON to a bundle and back, and the key sets that workloads get.

Reading is lenient where the standard tells it to be and nowhere else: an entry of unknown kind or use, or
one that is broken, is passed over and reported, and never takes the others with it (BUNDLE-20, BUNDLE-28,
BUNDLE-30, X509-50). A sequence number that is none fails the document, since accepting it could let an older
bundle replace a newer one; a refresh hint that is none is passed over, since it is only a hint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from finial.core.bundle import Bundle
from finial.core.bundle_entries import Entries, Object, jwt_entries, key_set_entry, wit_entries, x509_entries
from finial.core.errors import BundleError, Finding
from finial.core.ids import TrustDomain
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import DOCUMENT, HINT, JWT_USE, WIT_USE
from finial.core.rules.engine import Stage
from finial.core.strictjson import ObjectReader
from finial.core.token_authority import TokenAuthority

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
    """

    bundle: Bundle
    skipped: tuple[Finding, ...] = ()
    broken: tuple[Finding, ...] = ()


def read_bundle(trust_domain: TrustDomain, data: bytes) -> ReadBundle:
    """The bundle that a document describes.

    Args:
        trust_domain: Whose bundle it is; the document does not say.
        data: JSON in UTF-8 without a byte order mark, at most 4 MiB.

    Raises:
        BundleError: Not such a document as a whole. spec: BUNDLE-19, BUNDLE-47
    """
    return bundle_in(trust_domain, _READER.read(data))


def bundle_in(trust_domain: TrustDomain, document: Object) -> ReadBundle:
    """The bundle that a document describes which has been read already.

    Args:
        trust_domain: Whose bundle it is.
        document: A JSON object, read by an `ObjectReader`.

    Raises:
        BundleError: Not such a document as a whole. spec: BUNDLE-19
    """
    failing = DOCUMENT.findings(document, Stage.PARSE)
    if failing:
        raise BundleError(failing, subject=trust_domain.name)
    broken_hint = HINT.findings(document, Stage.PARSE, "spiffe_refresh_hint")
    keys, sequence, seconds = (
        document["keys"],
        document.get("spiffe_sequence"),
        document.get("spiffe_refresh_hint"),
    )
    entries = Entries()
    for number, entry in enumerate(keys if isinstance(keys, list) else ()):
        entries.read(entry, f"keys[{number}]")
    bundle = Bundle(
        trust_domain=trust_domain,
        x509_authorities=tuple(entries.x509),
        jwt_authorities=entries.tokens.of(JWT_USE),
        wit_authorities=entries.tokens.of(WIT_USE),
        sequence=sequence if isinstance(sequence, int) else 0,
        refresh_hint=timedelta(seconds=seconds)
        if isinstance(seconds, int) and seconds and not broken_hint
        else None,
    )
    return ReadBundle(bundle, tuple(entries.skipped), (*broken_hint, *entries.broken))


def write_bundle(bundle: Bundle) -> bytes:
    """The document of a bundle, laid out as SPIRE does it: four spaces, members without value left out.

    A refresh hint with a fraction of a second is rounded up (BUNDLE-17). Taints and ends of keys are nothing
    that a document could say. An X.509 authority whose key is not of a kind that has JWK parameters here is
    left out, since nobody could verify with it.
    """
    return json.dumps(document_of(bundle), indent=4).encode("ascii")


def document_of(bundle: Bundle) -> Object:
    """The document of a bundle as a JSON object."""
    document: Object = {
        "keys": [
            *x509_entries(bundle.x509_authorities),
            *jwt_entries(bundle.jwt_authorities),
            *wit_entries(bundle.wit_authorities),
        ]
    }
    if bundle.sequence:
        document["spiffe_sequence"] = bundle.sequence
    if bundle.refresh_hint is not None:
        document["spiffe_refresh_hint"] = -(-bundle.refresh_hint // timedelta(seconds=1))
    return document


def write_jwks(bundle: Bundle) -> bytes:
    """The keys for JWT-SVIDs as a plain JWK Set, as workloads get them. Clauses: WAPI-49, WAPI-50."""
    return _key_set(bundle.jwt_authorities)


def write_wit_jwks(bundle: Bundle) -> bytes:
    """The keys for WIT-SVIDs as a plain JWK Set, as workloads get them. Clauses: WAPI-65."""
    return _key_set(bundle.wit_authorities)


def _key_set(authorities: Iterable[TokenAuthority]) -> bytes:
    return json.dumps({"keys": [key_set_entry(each) for each in authorities]}, indent=4).encode("ascii")

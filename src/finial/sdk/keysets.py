"""The bundles that tokens are validated with, as the Workload API sends them: a JWK Set by trust domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from finial.core.bundle import Bundle
from finial.core.bundle_doc import MAX_DEPTH, MAX_DOCUMENT_BYTES, bundle_in
from finial.core.errors import BundleError, Finding, Kind, Reason, shown
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import JWT_USE, WIT_USE, X509_USE
from finial.core.strictjson import ObjectReader
from finial.sdk.response import AGENT_HINT, EMPTY, ResponseError, domain_of

KEY_SET: Final = Reason(
    "workload-response-key-set",
    Kind.INVALID,
    ("WAPI-49", "WAPI-50", "WAPI-65"),
    AGENT_HINT,
    "A bundle for tokens is no JWK Set, or has a key that is not for these tokens.",
)

_READER: Final = ObjectReader(
    what="the key set",
    most_bytes=MAX_DOCUMENT_BYTES,
    most_depth=MAX_DEPTH,
    error=BundleError,
    large=reasons.BUNDLE_LARGE,
    malformed=reasons.BUNDLE_JSON,
    duplicate=reasons.BUNDLE_DUPLICATE_KEY,
)
# What a plain JWK Set says of a key for signatures, where a SPIFFE bundle names the kind of SVID.
_SIGNATURES: Final = "sig"


class KeySets:
    """Reads the key sets of one message: each becomes a bundle with keys for one kind of token, nothing else.

    A key set that cannot be read is passed over: tokens of its trust domain are untrusted. So is a key that
    is broken or is for something else; it does not take the others with it.

    Args:
        use: Of the keys that count, `jwt-svid` or `wit-svid`.
    """

    def __init__(self, use: str) -> None:
        self._use = use
        self.passed: list[Finding] = []
        """What could not be used."""

    def read(self, bundles: Mapping[str, bytes]) -> tuple[Bundle, ...]:
        """The bundles.

        Args:
            bundles: Key sets by the IDs of their trust domains.

        Raises:
            ResponseError: There is none, or none that can be read. Clauses: WAPI-19
        """
        if not bundles:
            raise ResponseError.because(EMPTY, "the message holds no bundle", where="bundles")
        found = [self._read(key, data) for key, data in sorted(bundles.items())]
        readable = tuple(each for each in found if each is not None)
        if not readable:
            raise ResponseError(self.passed)
        return readable

    def _read(self, key: str, data: bytes) -> Bundle | None:
        trust_domain = domain_of(key, KEY_SET, self.passed)
        if trust_domain is None:
            return None
        where = f"bundle of {shown(key)}"
        try:
            document = _READER.read(data)
            keys = document.get("keys")
            if isinstance(keys, list):
                document["keys"] = [self._named(each) for each in keys]
            read = bundle_in(trust_domain, document)
        except BundleError as refused:
            self._pass_over(where, refused.findings)
            return None
        self._pass_over(where, (*read.skipped, *read.broken))
        return self._only(read.bundle, where)

    def _named(self, entry: object) -> object:
        """An entry that says what its key is for, as those of a SPIFFE bundle do.

        A plain JWK Set leaves that out, or says that a key is for signatures.
        """
        if not isinstance(entry, dict) or entry.get("use", _SIGNATURES) != _SIGNATURES:
            return entry
        return {**entry, "use": self._use}

    def _only(self, bundle: Bundle, where: str) -> Bundle:
        # spec: WAPI-47, WAPI-63. What is for other SVIDs proves nothing here, and is not kept.
        kinds = {X509_USE: bundle.x509_authorities, JWT_USE: bundle.jwt_authorities}
        kinds[WIT_USE] = bundle.wit_authorities
        surplus = [use for use, keys in kinds.items() if keys and use != self._use]
        self._pass_over(where, [Finding(KEY_SET, f"it has keys of the use {use}") for use in surplus])
        return Bundle(
            trust_domain=bundle.trust_domain,
            jwt_authorities=bundle.jwt_authorities if self._use == JWT_USE else (),
            wit_authorities=bundle.wit_authorities if self._use == WIT_USE else (),
        )

    def _pass_over(self, where: str, findings: Iterable[Finding]) -> None:
        self.passed.extend(Finding(KEY_SET, str(each), where) for each in findings)

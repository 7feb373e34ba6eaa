"""The entries of a bundle document: from JSON objects to authorities, and back."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from finial.core import jwk
from finial.core.errors import BundleError, Finding, KeyRefusedError, X509ParseError, shown
from finial.core.keys import public_key_der
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import ENTRY, JWT_USE, PASSED_OVER, TOKEN_ENTRY, WIT_USE, X509_ENTRY, X509_USE
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate

Object = dict[str, object]


class TokenAuthorities:
    """Collects the keys for tokens of one bundle, where no two have one key id. Clauses: JWT-35, WIT-46.

    Of two keys with one key id the first counts, of whatever kinds they are: a key that is added behind
    cannot take the place of one that others know. The same key once more is no breach.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, TokenAuthority]] = {}

    def add(self, use: str, authority: TokenAuthority) -> str:
        """Take a key in, unless its key id is taken.

        Args:
            use: `jwt-svid` or `wit-svid`.
            authority: The key.

        Returns:
            Which key has its key id already, one line; empty when none has.
        """
        held = self._held.setdefault(authority.key_id, (use, authority))
        if held[0] == use and (held[1] is authority or _one_key(held[1], authority)):
            return ""
        return f"key id {shown(authority.key_id)} is that of an earlier key"

    def of(self, use: str) -> tuple[TokenAuthority, ...]:
        """The keys of one kind, in the order in which they came."""
        return tuple(authority for kind, authority in self._held.values() if kind == use)


class Entries:
    """Collects what the entries of `keys` come to.

    An entry that is broken, or that the standard says to pass over, never takes another one with it. Clauses:
    BUNDLE-20, BUNDLE-28, BUNDLE-30, X509-50.
    """

    def __init__(self) -> None:
        self.x509: list[Certificate] = []
        self.tokens = TokenAuthorities()
        self.skipped: list[Finding] = []
        self.broken: list[Finding] = []

    def read(self, entry: object, where: str) -> None:
        """Sort one entry into the lists.

        Args:
            entry: A JSON value.
            where: Its place, for findings.
        """
        if not isinstance(entry, dict):
            self.broken.append(Finding(reasons.ENTRY_NOT_OBJECT, "the entry is not an object", where))
            return
        finding = ENTRY.first(entry, Stage.PARSE, where)
        if finding is None:
            table = X509_ENTRY if entry["use"] == X509_USE else TOKEN_ENTRY
            finding = table.first(entry, Stage.PARSE, where)
        if finding is not None:
            (self.skipped if finding.reason in PASSED_OVER else self.broken).append(finding)
        elif entry["use"] == X509_USE:
            self._read_certificate(entry["x5c"][0], where)
        else:
            self._read_key(entry, where)

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
                self.x509.append(certificate)

    def _read_key(self, entry: Object, where: str) -> None:
        try:
            authority = TokenAuthority(key_id=str(entry["kid"]), key=jwk.read_public(entry))
        except KeyRefusedError as refused:
            self.broken.append(Finding(reasons.ENTRY_KEY, refused.findings[0].message, where))
        except BundleError as refused:
            found = refused.findings[0]
            self.broken.append(Finding(found.reason, found.message, where))
        else:
            taken = self.tokens.add(str(entry["use"]), authority)
            if taken:
                self.broken.append(Finding(reasons.ENTRY_KEY_ID, taken, where))


def x509_entries(authorities: Iterable[Certificate]) -> list[Object]:
    """An entry for each X.509 authority.

    One whose key is not of a kind that has JWK parameters is left out, since nobody could verify with it.
    """
    # No kid, and nothing beyond the parameters of the key. spec: X509-42..X509-48, BUNDLE-26..BUNDLE-29
    return [
        {
            "use": X509_USE,
            **jwk.write_public(authority.key),
            "x5c": [base64.b64encode(authority.der).decode("ascii")],
        }
        for authority in authorities
        if authority.key is not None
    ]


def jwt_entries(authorities: Iterable[TokenAuthority]) -> list[Object]:
    """An entry for each JWT authority. Clauses: JWT-33..JWT-35, BUNDLE-26..BUNDLE-29."""
    return [{"use": JWT_USE, **key_set_entry(authority)} for authority in authorities]


def wit_entries(authorities: Iterable[TokenAuthority]) -> list[Object]:
    """An entry for each WIT authority. Clauses: WIT-43..WIT-46."""
    return [{"use": WIT_USE, **key_set_entry(authority)} for authority in authorities]


def key_set_entry(authority: TokenAuthority) -> Object:
    """The entry of a key for tokens in a plain JWK Set, which says no use."""
    members = jwk.write_public(authority.key)
    return {"kty": members.pop("kty"), "kid": authority.key_id, **members}


def _one_key(first: TokenAuthority, second: TokenAuthority) -> bool:
    return public_key_der(first.key) == public_key_der(second.key)

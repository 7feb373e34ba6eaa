"""The rules of a bundle document and of the entries in it.

What the breach of an entry's rule leads to differs: some entries are passed over because the standard says
so, the others are broken and worth telling the publisher. `PASSED_OVER` names the first by their reasons.
"""

from __future__ import annotations

from typing import TypeGuard

from finial.core.errors import shown
from finial.core.jwk import PRIVATE_MEMBERS
from finial.core.reasons import bundle as reasons
from finial.core.rules.engine import Rule, Stage, Table

MAX_SEQUENCE = (1 << 64) - 1
MAX_ENTRIES = 4096
MAX_DOMAINS = 10_000
# Longer than two million years; a duration of Python ends there.
MAX_HINT_SECONDS = 10**13

KEY_TYPES = frozenset({"EC", "RSA", "OKP"})
X509_USE, JWT_USE, WIT_USE = "x509-svid", "jwt-svid", "wit-svid"
USES = frozenset({X509_USE, JWT_USE, WIT_USE})

PASSED_OVER = frozenset({reasons.ENTRY_KTY, reasons.ENTRY_USE, reasons.ENTRY_NO_X5C})

# The section on maps calls by the second name what the section on bundles calls by the first.
HINT_NAMES = ("spiffe_refresh_hint", "refresh_hint")

_READING = frozenset({Stage.PARSE})
Object = dict[str, object]


def whole(value: object, most: int) -> TypeGuard[int]:
    """Whether a JSON value is an integer from 0 to a maximum.

    In Python `True` is 1 and 1.0 equals 1; in JSON neither is an integer.
    """
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _keys(document: Object) -> str:
    return "" if isinstance(document.get("keys"), list) else "the member keys is missing or is not an array"


def _many(document: Object) -> str:
    keys = document.get("keys")
    over = isinstance(keys, list) and len(keys) > MAX_ENTRIES
    return f"there are more than {MAX_ENTRIES} keys" if over else ""


def _sequence(document: Object) -> str:
    good = whole(document.get("spiffe_sequence", 0), MAX_SEQUENCE)
    return "" if good else "spiffe_sequence is not an integer from 0 to 2^64-1"


def _hint(document: Object) -> str:
    good = whole(document.get("spiffe_refresh_hint", 0), MAX_HINT_SECONDS)
    return "" if good else "spiffe_refresh_hint is not a whole number of seconds, or is absurdly large"


# What fails the document, and what is only passed over in it.
DOCUMENT = Table(
    "bundle document",
    (
        Rule(reasons.BUNDLE_KEYS, _keys, _READING),
        Rule(reasons.BUNDLE_LARGE, _many, _READING),
        Rule(reasons.BUNDLE_SEQUENCE, _sequence, _READING),
    ),
)
HINT = Table("bundle refresh hint", (Rule(reasons.BUNDLE_REFRESH_HINT, _hint, _READING),))


def _domains(document: Object) -> str:
    good = isinstance(document.get("trust_domains"), dict)
    return "" if good else "the member trust_domains is missing or is not an object"


def _many_domains(document: Object) -> str:
    held = document.get("trust_domains")
    over = isinstance(held, dict) and len(held) > MAX_DOMAINS
    return f"there are more than {MAX_DOMAINS} trust domains" if over else ""


# What fails a map before any of its bundles is looked at.
MAP = Table(
    "bundle map",
    (Rule(reasons.MAP_DOMAINS, _domains, _READING), Rule(reasons.BUNDLE_LARGE, _many_domains, _READING)),
)


def _kty(entry: Object) -> str:
    if "kty" not in entry:
        return "there is no key type"
    kty = entry["kty"]
    return "" if isinstance(kty, str) and kty in KEY_TYPES else f"key type {shown(str(kty))} is unknown"


def _use(entry: Object) -> str:
    if "use" not in entry:
        return "there is no use"
    use = entry["use"]
    return "" if isinstance(use, str) and use in USES else f"use {shown(str(use))} is unknown"


def _no_x5c(entry: Object) -> str:
    x5c = entry.get("x5c")
    return "there is no certificate" if x5c is None or x5c == [] else ""


def _x5c_form(entry: Object) -> str:
    # Of several certificates only the first counts; the others are not even looked at. spec: X509-51
    x5c = entry.get("x5c")
    good = isinstance(x5c, list) and x5c and isinstance(x5c[0], str)
    return "" if good else "x5c is not an array of text"


def _kid(entry: Object) -> str:
    if "kid" not in entry:
        return "there is no key id"
    kid = entry["kid"]
    return "" if isinstance(kid, str) and kid else "the key id is empty, or is not a text"


def _private(entry: Object) -> str:
    # The message names the members and never what they hold.
    secret = sorted(PRIVATE_MEMBERS & entry.keys())
    return f"the private half of the key is published, in the member {secret[0]}" if secret else ""


# Asked in this order, up to the first breach: what is of unknown type has no use, and so on.
ENTRY = Table(
    "bundle entry",
    (Rule(reasons.ENTRY_KTY, _kty, _READING), Rule(reasons.ENTRY_USE, _use, _READING)),
)
X509_ENTRY = Table(
    "bundle entry for X.509-SVIDs",
    (Rule(reasons.ENTRY_NO_X5C, _no_x5c, _READING), Rule(reasons.ENTRY_CERTIFICATE, _x5c_form, _READING)),
)
# Whether a token can be signed by the key, its own value says.
TOKEN_ENTRY = Table(
    "bundle entry for JWT-SVIDs and WIT-SVIDs",
    (Rule(reasons.ENTRY_KEY_ID, _kid, _READING), Rule(reasons.ENTRY_PRIVATE, _private, _READING)),
)

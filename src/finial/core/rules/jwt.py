"""The rules of JWT-SVIDs.

Decisions where the standard leaves room, or binds only the issuer:

- A header parameter beside alg, kid and typ refuses the token, also when a peer presents it (JWT-03 binds the
  issuer). No issuer that keeps the standard sets one. What jku, x5u, jwk or x5c name is never followed; crit
  and b64, which would change how the token is to be read, are refused with the others.
- The subject needs a path, also in a token of a peer. The standard does not say so, and go-spiffe accepts the
  ID of a trust domain; but sub names the workload that a token was issued to (JWT-13), and the ID of a trust
  domain names none. SPIRE issues no such token either, so that nothing is lost by refusing them.
- A token without kid is not refused for it (JWT-08): the keys of the subject's trust domain that go with its
  algorithm are tried, if they are at most eight. With kid that one key counts, no other is tried. An empty
  kid is refused: it names no key, and no key of a bundle is without a name.
- aud is a text or an array of texts, none of them empty (JWT-16). One exact match is enough (JWT-17).
- Times may have a fraction. At the instant that exp names the token has ended (RFC 7519, 4.1.4). The leeway
  counts for exp and nbf; iat is read, and is no reason to refuse (JWT-29).
- The times of the key in the bundle are not judged: a token never outlives its key, where we issue it.
- iss, jti and further claims are not judged: identity is in sub alone (JWT-14).
"""

from __future__ import annotations

from finial.core.claims import Claims
from finial.core.errors import shown
from finial.core.reasons import jwt as reasons
from finial.core.rules import token
from finial.core.rules.engine import ISSUING, Rule, Stage, Table
from finial.core.rules.token import Header, Presented

TYPE = "JWT"
_TYPES = frozenset({TYPE, "JOSE"})
_VERIFYING = frozenset({Stage.VERIFY})


def _type(header: Header) -> str:
    if "typ" not in header:
        return ""
    kind = header["typ"]
    return "" if isinstance(kind, str) and kind in _TYPES else f"type {shown(str(kind))} is not that of a JWT"


def _key_id(header: Header) -> str:
    key_id = header.get("kid", "none")
    return "" if isinstance(key_id, str) and key_id else "the key id is no text, or is empty"


def _issued_header(header: Header) -> str:
    exact = header.keys() == {"alg", "kid", "typ"} and header["typ"] == TYPE
    return "" if exact else f"the header is not exactly alg, kid and the type {TYPE}"


def _audience_form(claims: Claims) -> str:
    return "" if claims.audience else "the claim aud is missing, or is neither a text nor an array of texts"


def _audience(presented: Presented) -> str:
    if not presented.wanted.isdisjoint(presented.audience):
        return ""
    several = "" if len(presented.audience) == 1 else f" and {len(presented.audience) - 1} more"
    return f"it is meant for {shown(presented.audience[0])}{several}, not for this validator"


# Asked in this order, up to the first breach: with an algorithm that is none of ours, nothing is looked at.
HEADER = Table(
    "JWT-SVID header",
    (
        Rule(reasons.JWT_ALGORITHM, token.algorithm),
        Rule(reasons.JWT_HEADER, token.further),
        Rule(reasons.JWT_TYPE, _type),
        Rule(reasons.JWT_KEY_ID, _key_id),
        Rule(reasons.JWT_ISSUED_HEADER, _issued_header, ISSUING),
    ),
)

CLAIMS = Table(
    "JWT-SVID claims",
    (
        Rule(reasons.JWT_SUBJECT, token.subject),
        Rule(reasons.JWT_ROOT_ID, token.root_id),
        Rule(reasons.JWT_AUDIENCE_FORM, _audience_form),
        Rule(reasons.JWT_EXPIRY, token.expiry),
        Rule(reasons.JWT_TIME, token.other_times),
        Rule(reasons.JWT_ISSUED_TIMES, token.lifetime, ISSUING),
    ),
)

PRESENTED = Table(
    "JWT-SVID validation",
    (
        Rule(reasons.JWT_EXPIRED, token.expired, _VERIFYING),
        Rule(reasons.JWT_NOT_YET_VALID, token.not_yet_valid, _VERIFYING),
        Rule(reasons.JWT_AUDIENCE, _audience, _VERIFYING),
    ),
)

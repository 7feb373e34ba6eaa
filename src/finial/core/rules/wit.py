"""The rules of WIT-SVIDs.

Decisions where the standard leaves room, or binds only the issuer:

- Header parameters beside alg, kid and typ are passed over, and nothing that they name is followed (WIT-10).
  crit refuses the token: whatever it demands, it is not understood.
- The subject needs a path, also in a token of a peer: sub names a workload (WIT-11), and the ID of a trust
  domain names none. The same decision as for JWT-SVIDs.
- A token with aud is refused, whatever its value (WIT-30 binds the issuer): it was made for another purpose.
- cnf holds its key as jwk; jwe or jku beside it refuse the token (RFC 7800, 3.1), other members are passed
  over. Private and symmetric members of the key refuse the token before the key is read.
- The algorithm of cnf.jwk has to go with its key, and is one of the nine also for a peer (WIT-14).
- The leeway counts for exp alone: the standard names none for nbf (WIT-21, WIT-24). iat limits nothing
  (WIT-27).
- The longest life, if a validator sets one, counts from nbf; where there is none from iat, and where there is
  none either from the instant of validation (WIT-25).
- An issuer that begins with https: is refused when we sign: by RFC 8414 or OpenID Connect Discovery it could
  lead to keys for other purposes (WIT-29). In a token of a peer iss is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from finial.core.algorithms import fits
from finial.core.claims import Claims
from finial.core.confirmation import Confirmation
from finial.core.jwk import PRIVATE_MEMBERS
from finial.core.reasons import wit as reasons
from finial.core.rules import token
from finial.core.rules.engine import ISSUING, Rule, Stage, Table
from finial.core.rules.token import Header, Presented

TYPE = "wit+jwt"
_VERIFYING = frozenset({Stage.VERIFY})


def _type(header: Header) -> str:
    return token.exact_type(header, TYPE)


def _key_id(header: Header) -> str:
    key_id = header.get("kid")
    return "" if isinstance(key_id, str) and key_id else "the key id is missing, is no text, or is empty"


def _audience(claims: Claims) -> str:
    return "the claim aud is there" if "aud" in claims.members else ""


def _issuer(claims: Claims) -> str:
    issuer = claims.members.get("iss", "")
    discoverable = not isinstance(issuer, str) or issuer.lower().startswith("https:")
    return "the claim iss is no text, or begins with https:" if discoverable else ""


def _cnf(confirmation: Confirmation) -> str:
    return "" if confirmation.members is not None else "the claim cnf is missing, or is not one key as jwk"


def _cnf_secret(confirmation: Confirmation) -> str:
    members = confirmation.members or {}
    secret = PRIVATE_MEMBERS & members.keys() or members.get("kty") == "oct"
    return "the key in cnf has members that are secret" if secret else ""


def _cnf_algorithm(confirmation: Confirmation) -> str:
    return "" if confirmation.algorithm is not None else "the key in cnf names none of the nine algorithms"


def _cnf_key(confirmation: Confirmation) -> str:
    return f"of cnf {confirmation.key_fault}" if confirmation.key_fault else ""


def _cnf_kind(confirmation: Confirmation) -> str:
    key, algorithm = confirmation.key, confirmation.algorithm
    good = key is not None and algorithm is not None and fits(algorithm, key)
    return "" if good else f"the algorithm {algorithm} does not go with the key in cnf"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedWIT(Presented):
    """A WIT-SVID at the moment of its validation.

    Args:
        issued_at: When it was issued; None when it does not say.
        longest: How long a token may live at most; None for any time.
    """

    issued_at: datetime | None
    longest: timedelta | None


def _not_yet_valid(presented: PresentedWIT) -> str:
    begin, now = presented.not_before, presented.now
    if begin is None or now >= begin:
        return ""
    return f"it is valid from {token.instant(begin)} on, now is {token.instant(now)}"


def _lifespan(presented: PresentedWIT) -> str:
    begin = presented.not_before or presented.issued_at or presented.now
    if presented.longest is None or presented.expires_at - begin <= presented.longest:
        return ""
    return f"it lives for {presented.expires_at - begin}, at most {presented.longest} is allowed here"


HEADER = Table(
    "WIT-SVID header",
    (
        Rule(reasons.WIT_ALGORITHM, token.algorithm),
        Rule(reasons.WIT_CRITICAL, token.critical),
        Rule(reasons.WIT_TYPE, _type),
        Rule(reasons.WIT_KEY_ID, _key_id),
        Rule(reasons.WIT_ISSUED_HEADER, token.further, ISSUING),
    ),
)

CLAIMS = Table(
    "WIT-SVID claims",
    (
        Rule(reasons.WIT_SUBJECT, token.subject),
        Rule(reasons.WIT_ROOT_ID, token.root_id),
        Rule(reasons.WIT_AUDIENCE, _audience),
        Rule(reasons.WIT_EXPIRY, token.expiry),
        Rule(reasons.WIT_TIME, token.other_times),
        Rule(reasons.WIT_ISSUED_TIMES, token.lifetime, ISSUING),
        Rule(reasons.WIT_ISSUED_ISSUER, _issuer, ISSUING),
    ),
)

# Asked in this order, up to the first breach: each supposes the one before.
CONFIRMATION = Table(
    "WIT-SVID confirmation",
    (
        Rule(reasons.WIT_CNF, _cnf),
        Rule(reasons.WIT_CNF_SECRET, _cnf_secret),
        Rule(reasons.WIT_CNF_ALGORITHM, _cnf_algorithm),
        Rule(reasons.WIT_CNF_KEY, _cnf_key),
        Rule(reasons.WIT_CNF_KIND, _cnf_kind),
    ),
)

PRESENTED: Table[PresentedWIT] = Table(
    "WIT-SVID validation",
    (
        Rule(reasons.WIT_EXPIRED, token.expired, _VERIFYING),
        Rule(reasons.WIT_NOT_YET_VALID, _not_yet_valid, _VERIFYING),
        Rule(reasons.WIT_LIFESPAN, _lifespan, _VERIFYING),
    ),
)

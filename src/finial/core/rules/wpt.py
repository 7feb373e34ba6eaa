"""The rules of workload proof tokens, which prove that a WIT-SVID's key is held by whoever presents it.

They follow draft-ietf-wimse-wpt. Decisions where it leaves room:

- A proof is for one target: aud is one text, or an array of one (WIT-50). Deployments behind a proxy give the
  validator the URI that clients use; no list of aliases is kept.
- typ is exactly wpt+jwt. Header parameters beside alg and typ are passed over, except crit.
- A proof that would be good for more than five minutes is refused, whatever it says (WIT-51).
- Of the tokens that a request carries, the validator names those that it is going to rely on. The proof has
  to cover exactly these: one that it lacks, and one that it has in excess, refuse it (WIT-61, WIT-62).
- The leeway counts for exp and nbf: the sender makes a proof by its own clock, moments before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from finial.core.algorithms import Algorithm
from finial.core.claims import Claims
from finial.core.errors import shown
from finial.core.reasons import wpt as reasons
from finial.core.rules import token
from finial.core.rules.engine import Rule, Stage, Table
from finial.core.rules.token import Header

TYPE = "wpt+jwt"
MAX_PROOF_TTL = timedelta(minutes=5)
_VERIFYING = frozenset({Stage.VERIFY})


def _type(header: Header) -> str:
    return token.exact_type(header, TYPE)


def _form(claims: Claims) -> str:
    members = claims.members
    if len(claims.audience) != 1:
        return "the claim aud is not one text"
    if claims.expires_at is None:
        return "the claim exp is missing or is no number of seconds"
    if "nbf" in members and claims.not_before is None:
        return "the claim nbf is no number of seconds"
    for name in ("jti", "wth"):
        if not isinstance(members.get(name), str) or not members[name]:
            return f"the claim {name} is missing or is no text"
    if not isinstance(members.get("tth", ""), str):
        return "the claim tth is no text"
    others = members.get("oth", {})
    good = isinstance(others, Mapping) and all(isinstance(value, str) for value in others.values())
    return "" if good else "the claim oth is no object of texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a proof says, or what it has to say; the two are compared member by member.

    Args:
        algorithm: By which it is made.
        target: For which target, as targets are compared.
        token: The hash over the WIT-SVID.
        transaction: Over the transaction token of the request; None for none.
        others: Over further tokens of the request, by the names of their header fields.
    """

    algorithm: Algorithm
    target: str
    token: str
    transaction: str | None
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A proof at the moment of its validation.

    Args:
        said: By the proof.
        wanted: By the validator.
        genuine: Whether its signature is by the key of the WIT-SVID.
        expires_at: From then on it is good for nothing.
        not_before: Before then it is not either; None when it does not say.
        now: The instant of validation.
        leeway: By how much clocks may differ.
    """

    said: Statement
    wanted: Statement
    genuine: bool
    expires_at: datetime
    not_before: datetime | None
    now: datetime
    leeway: timedelta


def _algorithm(compared: Compared) -> str:
    said, wanted = compared.said.algorithm, compared.wanted.algorithm
    return "" if said is wanted else f"it is made by {said}, the key in the token signs by {wanted}"


def _signature(compared: Compared) -> str:
    return "" if compared.genuine else "it is not made with the key of the token"


def _target(compared: Compared) -> str:
    said, wanted = compared.said.target, compared.wanted.target
    return "" if said == wanted else f"it is for {shown(said)}, this is {shown(wanted)}"


def _expired(compared: Compared) -> str:
    end, now = compared.expires_at, compared.now
    return (
        ""
        if now - compared.leeway < end
        else f"it expired at {token.instant(end)}, now is {token.instant(now)}"
    )


def _long(compared: Compared) -> str:
    rest = compared.expires_at - compared.now
    return "" if rest <= MAX_PROOF_TTL + compared.leeway else f"it is good for another {rest}"


def _not_yet_valid(compared: Compared) -> str:
    begin = compared.not_before
    early = begin is not None and compared.now + compared.leeway < begin
    return "its validity has not begun" if early else ""


def _token(compared: Compared) -> str:
    return "" if compared.said.token == compared.wanted.token else "it was made for another token"


def _transaction(compared: Compared) -> str:
    same = compared.said.transaction == compared.wanted.transaction
    return "" if same else "it does not cover the transaction token of the request, or covers another"


def _others(compared: Compared) -> str:
    said, wanted = compared.said.others, compared.wanted.others
    names = sorted(name for name in said.keys() | wanted.keys() if said.get(name) != wanted.get(name))
    return f"it does not cover {', '.join(map(shown, names[:3]))} as the request has it" if names else ""


HEADER = Table(
    "proof header",
    (
        Rule(reasons.WPT_ALGORITHM, token.algorithm),
        Rule(reasons.WPT_CRITICAL, token.critical),
        Rule(reasons.WPT_TYPE, _type),
    ),
)

CLAIMS = Table("proof claims", (Rule(reasons.WPT_FORM, _form),))

# spec: WIT-62, after the WIT-SVID itself
PRESENTED = Table(
    "proof validation",
    (
        Rule(reasons.WPT_OTHER_ALGORITHM, _algorithm, _VERIFYING),
        Rule(reasons.WPT_SIGNATURE, _signature, _VERIFYING),
        Rule(reasons.WPT_TARGET, _target, _VERIFYING),
        Rule(reasons.WPT_EXPIRED, _expired, _VERIFYING),
        Rule(reasons.WPT_LONG, _long, _VERIFYING),
        Rule(reasons.WPT_NOT_YET_VALID, _not_yet_valid, _VERIFYING),
        Rule(reasons.WPT_TOKEN, _token, _VERIFYING),
        Rule(reasons.WPT_TRANSACTION, _transaction, _VERIFYING),
        Rule(reasons.WPT_OTHERS, _others, _VERIFYING),
    ),
)

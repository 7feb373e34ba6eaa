"""The validator of JWT-SVIDs: a token proves what a key of its trust domain signed, and nothing else.

Two tokens are signed as the bytes of an input choose, their parts are mixed, and the result is damaged. What
is proven has to be one of the two, and what was neither mixed nor damaged is judged as an oracle judges it.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from datetime import timedelta
from typing import Any

from finial.core.errors import TokenParseError, TokenVerifyError
from finial.core.jwtsvid import VerifiedJWT, validate_jwt
from fuzz import signers
from fuzz.signers import Signature, chosen
from fuzz.target import Target, refused_well
from support import tokens

_S = tokens.SECONDS
_WANTED = frozenset({tokens.AUDIENCE, "billing"})
_SIGNERS = ("k1", "w1", "k2", "b1", "r1", "no")
_KEY_IDS: tuple[Any, ...] = ("k1", "w1", ..., "k2", "b1", "r1", "gone", "", 7)
_KINDS: tuple[Any, ...] = ("JWT", ..., "JOSE", "wit+jwt", "wpt+jwt", "jwt")
_AUDIENCES: tuple[Any, ...] = (tokens.AUDIENCE, ["x", "billing"], ["x"], "", ..., ["billing", ""], "report")
_ENDS: tuple[Any, ...] = (_S + 60, _S, _S - 1, _S + 0.5, ..., "x", 2**40, _S - 60)
_BEGINS: tuple[Any, ...] = (..., _S, _S + 1, _S - 0.5, _S + 60, None)
_LEEWAYS = (
    timedelta(0),
    timedelta(seconds=60),
    timedelta(minutes=2),
    timedelta(minutes=3),
    timedelta(seconds=-1),
)
_CHOICES = (_SIGNERS, signers.ALGORITHMS, _KEY_IDS, _KINDS, signers.SUBJECTS, _AUDIENCES, _ENDS, _BEGINS)
_HELD = {
    "a.test": {"k1": "k1", "k2": "k2", "r1": "r1"},
    "b.test": {"b1": "b1", "k1": "b1"},
    "many.test": {"k1": "k1"},
}
_ROWS = len(_CHOICES)
_FIRST, _SECOND, _MIX, _LEEWAY, _HARM = slice(0, 8), slice(8, 16), 16, 17, 18


def check(data: bytes) -> None:
    choice = data[:_HARM].ljust(_HARM, b"\x00")
    first, second = (_signature(choice[part]) for part in (_FIRST, _SECOND))
    token = (
        signers.spliced(first.token(), second.token(), choice[_MIX] % 8) if choice[_MIX] else first.token()
    )
    intact = signers.said(token) == signers.said(first.token()) and not choice[_MIX] and len(data) < _HARM + 2
    token = signers.damaged(token, data[_HARM : _HARM + 8])
    leeway = chosen(_LEEWAYS, choice[_LEEWAY])
    try:
        found = validate_jwt(token, signers.bundles(), _WANTED, now=tokens.NOW, leeway=leeway)
    except (TokenParseError, TokenVerifyError) as refused:
        refused_well(refused, *token.split("."))
        assert not (intact and _good(first, leeway))
        return
    assert found.authority in signers.bundles()[found.id.trust_domain].jwt_authorities
    signed = next(one for one in (first, second) if _is(one, found))
    assert _good(signed, leeway)
    assert found.id.text == found.svid.id.text == signed.claims["sub"]
    assert signed.claims["aud"] in (found.svid.audience[0], list(found.svid.audience))


def _is(one: Signature, found: VerifiedJWT) -> bool:
    """Whether what is proven is what somebody signed."""
    same = signers.said(one.token()) == signers.said(found.svid.token)
    return same and one.key.public_key() == found.authority.key


def _signature(choice: bytes) -> Signature:
    header = {
        "alg": chosen(signers.ALGORITHMS, choice[1]) or ...,
        "kid": chosen(_KEY_IDS, choice[2]),
        "typ": chosen(_KINDS, choice[3]),
    }
    claims = {
        "sub": chosen(signers.SUBJECTS, choice[4]),
        "aud": chosen(_AUDIENCES, choice[5]),
        "exp": chosen(_ENDS, choice[6]),
        "nbf": chosen(_BEGINS, choice[7]),
    }
    return Signature(chosen(_SIGNERS, choice[0]), tokens.without(header), tokens.without(claims))


def _good(signed: Signature, leeway: timedelta) -> bool:
    """Whether a token that is not damaged proves its subject; decided by the rows, not by reading it."""
    header, claims, slack = signed.header, signed.claims, leeway.total_seconds()
    domain, _, path = str(claims.get("sub")).removeprefix("spiffe://").partition("/")
    held = _HELD.get(domain, {})
    named = held.values() if "kid" not in header else [held.get(str(header["kid"]))]
    end, begin = claims.get("exp"), claims.get("nbf", 0)
    audience = claims.get("aud")
    several = audience if isinstance(audience, list) else [audience]
    return (
        0 <= slack <= 120
        and header.get("alg") == signed.algorithm
        and header.get("typ", "JWT") in {"JWT", "JOSE"}
        and path != ""
        and signed.by in named
        and (domain != "many.test" or "kid" in header)
        and "" not in several
        and not _WANTED.isdisjoint(several)
        and isinstance(end, int | float)
        and _S - slack < end
        and isinstance(begin, int | float)
        and begin <= _S + slack
        and end < 2**38
    )


def corpus() -> list[bytes]:
    rows = [_with({at: value}) for at, row in enumerate(_CHOICES) for value in range(len(row))]
    sound = [
        _with({0: 2, 1: 1, 2: 3}),
        _with({0: 4, 1: 3, 2: 5}),
        _with({0: 4, 1: 4, 2: 2}),
        _with({0: 3, 2: 4, 4: 1}),
    ]
    sound += [_with({4: 7, 2: kid}) for kid in (0, 2)]
    mixed = [_with({12: 1, _MIX: parts}) for parts in range(1, 7)]
    return [
        *rows,
        *sound,
        *mixed,
        *(_with({_LEEWAY: 3, 6: end}) for end in range(8)),
        bytes(_HARM) + b"\xff\x50",
    ]


def _with(changes: dict[int, int]) -> bytes:
    return bytes(changes.get(at, 0) for at in range(_HARM))


def generate(source: random.Random) -> bytes:
    """Two tokens that are nearly sound; some mixed, some damaged."""
    choice = bytearray(_HARM)
    for start in (0, _ROWS):
        choice[start : start + 3] = source.choice(_SOUND)
        for _ in range(source.choice((0, 0, 1, 1, 2))):
            choice[start + source.randrange(_ROWS)] = source.randrange(9)
    choice[_MIX] = source.randrange(8) if source.random() < 0.3 else 0
    choice[_LEEWAY] = source.choice((0, 0, 0, 1, 2, 3, 4))
    return bytes(choice) + source.randbytes(source.choice((0, 0, 0, 2, 2, 6)))


_SOUND = (
    bytes([0, 0, 0]),
    bytes([0, 0, 2]),
    bytes([2, 1, 3]),
    bytes([4, 3, 5]),
    bytes([4, 4, 2]),
    bytes([3, 0, 4]),
)
_PARSER = (
    "finial.core.jwtsvid",
    "finial.core.rules.jwt",
    "finial.core.token_trust",
    "finial.core.algorithms",
)
_OMITS = ("JWTSVID.parse", "issue_jwt", "_read_back", "_issued_header", "sign")
TARGET = Target(
    "jwt_validation", corpus, check, generate, budget_s=0.1, modules=_PARSER, omits=_OMITS, verifies=True
)

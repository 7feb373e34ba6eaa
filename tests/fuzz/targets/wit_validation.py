"""The validator of WIT-SVIDs: who is proven has the key that was bound to it, for this request, once.

A token and a proof are signed as the bytes of an input choose, and damaged. What is proven has to be what was
signed, and what was not damaged is judged as an oracle judges it.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from datetime import timedelta
from typing import Any

from finial.core import jwk
from finial.core.algorithms import algorithm_of
from finial.core.errors import TokenParseError, TokenVerifyError
from finial.core.reasons import wpt as reasons
from finial.core.seen_proofs import SeenProofs
from finial.core.witsvid import VerifiedWIT, validate_wit
from finial.core.wpt import ProofScope
from fuzz import signers, stock
from fuzz.signers import Signature, chosen
from fuzz.target import Target, refused_well
from support import tokens

_S = tokens.SECONDS
_OTHER = "aaa.bbb.ccc"
_SCOPES = (
    ProofScope(tokens.TARGET),
    ProofScope(tokens.TARGET, transaction_token="txn"),
    ProofScope("HTTPS://Reports.test:443/daily?x", others={"Other": _OTHER}),
    ProofScope("https://reports.test"),
)
_LEEWAYS = (timedelta(0), timedelta(seconds=60), timedelta(minutes=3))
_LONGEST = (None, timedelta(minutes=2), timedelta(hours=2))

# Of the token.
_SIGNERS = ("w1", "k1", "b1", "no")
_KEY_IDS: tuple[Any, ...] = ("w1", "w2", "k1", ..., "gone", "")
_KINDS: tuple[Any, ...] = ("wit+jwt", "JWT", ..., "WIT+JWT")
_AUDIENCES: tuple[Any, ...] = (..., "reports", None)
_ENDS: tuple[Any, ...] = (_S + 60, _S, _S - 30, _S + 3600, ..., "x")
_BEGINS: tuple[Any, ...] = (..., _S, _S + 1, _S - 7200)
_KEYS: tuple[Any, ...] = ("holder", "other", "rsa", "wrong", "secret", ...)
# Of the proof.
_HOLDERS = ("holder", "other", "r1")
_PROOF_KINDS: tuple[Any, ...] = ("wpt+jwt", "JWT", ...)
_PROOF_ENDS: tuple[Any, ...] = (_S + 20, _S, _S + 301, _S - 30, _S + 0.5, ...)
_TARGETS: tuple[Any, ...] = (
    tokens.TARGET, [tokens.TARGET], f"{tokens.TARGET}?q", "https://reports.test/",
    "http://reports.test/daily", [tokens.TARGET, "x"], "x", ...,
)  # fmt: skip
_WORDS: tuple[Any, ...] = (..., "txn", "other", 7)
_OTHERS: tuple[Any, ...] = (..., {"other": _OTHER}, {"other": "x"}, {"x": _OTHER, "other": _OTHER}, 7)
_HASHED = (0, 0, 0, 1)  # the token's own hash, or that of something else
_CHOICES = (
    _SIGNERS, signers.ALGORITHMS, _KEY_IDS, _KINDS, signers.SUBJECTS, _AUDIENCES, _ENDS, _BEGINS, _KEYS,
    _HOLDERS, signers.ALGORITHMS, _PROOF_KINDS, _PROOF_ENDS, _TARGETS, _WORDS, _OTHERS, _HASHED, _BEGINS,
    _SCOPES, _LEEWAYS, _LONGEST,
)  # fmt: skip
_ROWS = len(_CHOICES)


def check(data: bytes) -> None:
    picked = [chosen(row, byte) for row, byte in zip(_CHOICES, data.ljust(_ROWS, b"\x00"), strict=False)]
    scope, leeway, longest = picked[18:]
    signed = _signature(picked[:9])
    proven = _proof(picked[9:18], signed.token())
    token = signers.damaged(signed.token(), data[_ROWS : _ROWS + 4])
    proof = signers.damaged(proven.token(), data[_ROWS + 4 : _ROWS + 8])
    seen = SeenProofs()

    def validate() -> VerifiedWIT:
        return validate_wit(
            token,
            proof,
            signers.bundles(),
            scope=scope,
            now=tokens.NOW,
            leeway=leeway,
            longest=longest,
            seen=seen,
        )

    try:
        found = validate()
    except (TokenParseError, TokenVerifyError) as refused:
        refused_well(refused, *token.split("."), *proof.split("."))
        assert not seen
        assert len(data) >= _ROWS + 2 or not _good(signed, proven, picked)
        return
    assert signers.said(token) == signers.said(signed.token())
    assert signers.said(proof) == signers.said(proven.token())
    assert found.id.text == found.svid.id.text == signed.claims["sub"]
    assert found.authority in signers.bundles()[found.id.trust_domain].wit_authorities
    assert found.authority.key == signed.key.public_key()
    assert found.svid.key == proven.key.public_key()
    # The token is in the proof by its hash, which another form of its signature does not have.
    assert token == signed.token() or proven.claims["wth"] == tokens.digest(token)
    assert _good(signed, proven, picked)
    try:
        validate()
    except TokenVerifyError as refused:
        assert [each.reason for each in refused.findings] == [reasons.WPT_REPLAYED]
    else:
        raise AssertionError("a proof was accepted twice")


def _signature(picked: list[Any]) -> Signature:
    by, algorithm, kid, kind, subject, audience, end, begin, holder = picked
    header = {"alg": algorithm or ..., "kid": kid, "typ": kind}
    claims = {"sub": subject, "aud": audience, "exp": end, "nbf": begin, "cnf": _cnf(holder)}
    return Signature(by, tokens.without(header), tokens.without(claims))


def _cnf(holder: Any) -> Any:
    if holder is ...:
        return ...
    key = signers.key("r1") if holder == "rsa" else stock.key("other" if holder == "other" else "holder")
    members = {**jwk.write_public(key.public_key()), "alg": algorithm_of(key).value}
    return {"jwk": {**members, **{"wrong": {"alg": "ES384"}, "secret": {"d": "AA"}}.get(holder, {})}}


def _proof(picked: list[Any], token: str) -> Signature:
    holder, algorithm, kind, end, target, word, others, hashed, begin = picked
    named = (
        {name: tokens.digest(text) for name, text in others.items()} if isinstance(others, dict) else others
    )
    claims = {
        "aud": target,
        "exp": end,
        "nbf": begin,
        "jti": "one",
        "wth": tokens.digest("x" if hashed else token),
        "tth": tokens.digest(word) if isinstance(word, str) else word,
        "oth": named,
    }
    return Signature(holder, tokens.without({"alg": algorithm or ..., "typ": kind}), tokens.without(claims))


def _good(signed: Signature, proven: Signature, picked: list[Any]) -> bool:
    """Whether token and proof, not damaged, prove the subject; decided by the rows, not by reading them."""
    scope, leeway, longest = picked[18:]
    slack = leeway.total_seconds()
    end, begin = signed.claims.get("exp"), signed.claims.get("nbf", _S)
    return (
        0 <= slack <= 120
        and picked[0] == picked[2] == "w1"
        and signed.header.get("alg") == "ES256"
        and picked[3] == "wit+jwt"
        and str(picked[4]).startswith("spiffe://a.test/")
        and picked[5] is ...
        and isinstance(end, int)
        and end > _S - slack
        and begin <= _S
        and (longest is None or end - begin <= longest.total_seconds())
        and _proves(proven, picked[8], scope, slack)
    )


def _proves(proven: Signature, holder: Any, scope: ProofScope, slack: float) -> bool:
    claims = proven.claims
    end, begin, target = claims.get("exp"), claims.get("nbf", _S), claims.get("aud")
    target = target[0] if isinstance(target, list) and len(target) == 1 else target
    wanted = {name.lower(): tokens.digest(text) for name, text in scope.others.items()}
    transaction = tokens.digest(scope.transaction_token) if scope.transaction_token else None
    return (
        (holder, proven.by) in {("holder", "holder"), ("other", "other"), ("rsa", "r1")}
        and proven.header.get("alg") == ("RS256" if holder == "rsa" else "ES256")
        and proven.header.get("typ") == "wpt+jwt"
        and isinstance(end, int | float)
        and _S - slack < end <= _S + 300 + slack
        and begin <= _S + slack
        and isinstance(target, str)
        and target.partition("?")[0] == scope.audience
        and claims.get("tth") == transaction
        and claims.get("oth", {}) == wanted
        and claims["wth"] != tokens.digest("x")
    )


def corpus() -> list[bytes]:
    rows = [_with({at: value}) for at, row in enumerate(_CHOICES) for value in range(len(row))]
    sound = [_with({18: 1, 14: 1}), _with({18: 2, 15: 1}), _with({18: 3, 13: 3}), _with({8: 1, 9: 1})]
    rsa = [_with({8: 2, 9: 2, 10: algorithm}) for algorithm in (0, 3, 4)]
    others = [_with({18: 2, 15: value}) for value in range(5)]
    return [
        *rows,
        *sound,
        *rsa,
        *others,
        _with({20: 1, 6: 3}),
        _with({20: 2, 6: 3, 7: 3}),
        _with({}) + b"\xff\x50" * 4,
    ]


def _with(changes: dict[int, int]) -> bytes:
    return bytes(changes.get(at, 0) for at in range(_ROWS))


def generate(source: random.Random) -> bytes:
    """A token and a proof that are nearly sound; some damaged."""
    choice = bytearray(source.choice(_SOUND))
    for _ in range(source.choice((0, 0, 1, 1, 2, 3))):
        choice[source.randrange(_ROWS)] = source.randrange(8)
    return bytes(choice) + source.randbytes(source.choice((0, 0, 0, 2, 6, 8)))


_SOUND = (
    *(_with({18: scope, **more}) for scope, more in enumerate(({}, {14: 1}, {15: 1}, {13: 3}))),
    _with({8: 2, 9: 2, 10: 3}),
)  # fmt: skip
_PARSER = (
    "finial.core.witsvid", "finial.core.wpt", "finial.core.rules.wit", "finial.core.rules.wpt",
    "finial.core.token_trust",
)  # fmt: skip
# What signs, and what is read before.
_OMITS = (
    "WITSVID.parse", "issue_wit", "_read_back", "_issuer", "make_proof", "WorkloadProof.proves", "_tried",
    "Credential", "ProofScope.__post_init__", "_form",
)  # fmt: skip
TARGET = Target(
    "wit_validation", corpus, check, generate, budget_s=0.1, modules=_PARSER, omits=_OMITS, verifies=True
)

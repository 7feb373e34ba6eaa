"""Workload proof tokens: made for one request, with the key that a WIT-SVID is bound to.

A WIT-SVID is worth nothing alone (WIT-37, WIT-39). Whoever presents it makes a proof for the target, short in
life and with a name of its own, and sends both; `finial.core.witsvid.validate_wit` takes no less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from finial.core import base64url, jws
from finial.core.algorithms import Algorithm, verifies
from finial.core.claims import Claims, seconds
from finial.core.errors import CarriageError, Finding, IssueError, TokenParseError
from finial.core.keys import PrivateKey, PublicKey
from finial.core.reasons import wpt as reasons
from finial.core.rules.engine import Stage
from finial.core.rules.wpt import CLAIMS, HEADER, MAX_PROOF_TTL, PRESENTED, TYPE, Compared, Statement
from finial.core.target import Target, plain

DEFAULT_PROOF_TTL = timedelta(seconds=30)
_SECOND = timedelta(seconds=1)


class Credential(Protocol):
    """What a proof needs to know of a WIT-SVID."""

    @property
    def token(self) -> str:
        """The token."""

    @property
    def key(self) -> PublicKey:
        """The key that it is bound to."""

    @property
    def key_algorithm(self) -> Algorithm:
        """By which that key signs."""

    @property
    def expires_at(self) -> datetime:
        """When it ends, and the use of the key with it."""


@dataclass(frozen=True, slots=True)
class ProofScope:
    """What a proof is made for, and has to fit: one request. Clauses: WIT-50, WIT-54.

    Args:
        target: Its URI, as clients use it; over https. Query and fragment do not count.
        transaction_token: The one that the request carries in Txn-Token; empty for none.
        others: Further tokens that it carries and that the receiver relies on, by header field.

    Raises:
        CarriageError: The target is no URI of a host, or is not reached over https.
    """

    target: str
    transaction_token: str = field(default="", repr=False)
    others: Mapping[str, str] = field(default_factory=dict, repr=False)
    audience: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        target = Target(self.target)
        if not target.secure:
            raise plain(target)
        object.__setattr__(self, "audience", target.uri)

    def statement(self, credential: Credential) -> Statement:
        """What a proof for this request and a WIT-SVID says."""
        return Statement(
            algorithm=credential.key_algorithm,
            target=self.audience,
            token=hash_of(credential.token),
            transaction=hash_of(self.transaction_token) if self.transaction_token else None,
            others={name.lower(): hash_of(value.strip(" ")) for name, value in self.others.items()},
        )


@dataclass(frozen=True, slots=True)
class WorkloadProof:
    """A proof that keeps the rules of its form; whether it holds, only its validation tells.

    Args:
        token: In compact form, at most 32 KiB; left out of representation.

    Attributes:
        algorithm: The header parameter alg.
        audience: The claim aud: the target.
        expires_at: The claim exp.
        not_before: The claim nbf, if there is one.
        id: The claim jti.

    Raises:
        TokenParseError: It breaks a rule.
    """

    token: str = field(repr=False)
    algorithm: Algorithm = field(init=False, compare=False)
    audience: str = field(init=False, compare=False)
    expires_at: datetime = field(init=False, compare=False)
    not_before: datetime | None = field(init=False, compare=False)
    id: str = field(init=False, compare=False)
    _said: Statement = field(init=False, compare=False, repr=False)
    _signature: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        compact = jws.read(self.token, HEADER)
        claims = Claims(compact.payload)
        findings = CLAIMS.findings(claims, Stage.PARSE, "proof")
        if findings or claims.expires_at is None:
            raise TokenParseError(findings)
        algorithm = Algorithm(str(compact.header["alg"]))
        audience = claims.audience[0]
        values = (
            ("algorithm", algorithm),
            ("audience", audience),
            ("expires_at", claims.expires_at),
            ("not_before", claims.not_before),
            ("id", compact.payload["jti"]),
            ("_said", _said(compact.payload, algorithm, audience)),
            ("_signature", compact.signature),
        )
        for name, value in values:
            object.__setattr__(self, name, value)

    def proves(self, token: str) -> bool:
        """Whether it says that it was made for a token; nothing is verified."""
        return self._said.token == hash_of(token)

    def findings(
        self, credential: Credential, scope: ProofScope, *, now: datetime, leeway: timedelta
    ) -> list[Finding]:
        """Why it does not prove that the key of a WIT-SVID was at hand for a request. Clauses: WIT-62.

        Args:
            credential: The WIT-SVID that it came with, validated.
            scope: The request.
            now: Aware, UTC.
            leeway: By how much clocks may differ.
        """
        algorithm, data = credential.key_algorithm, jws.signed_part(self.token)
        compared = Compared(
            said=self._said,
            wanted=scope.statement(credential),
            genuine=verifies(credential.key, algorithm, data, self._signature),
            expires_at=self.expires_at,
            not_before=self.not_before,
            now=now,
            leeway=leeway,
        )
        return PRESENTED.findings(compared, Stage.VERIFY, "proof")


def make_proof(
    credential: Credential,
    scope: ProofScope,
    *,
    key: PrivateKey,
    now: datetime,
    jti: str,
    ttl: timedelta = DEFAULT_PROOF_TTL,
) -> str:
    """A proof for one request. Clauses: WIT-38, WIT-51, WIT-52, WIT-56, WIT-59, WIT-61.

    Args:
        credential: The WIT-SVID that it goes with.
        scope: The request.
        key: The private half of the key that the WIT-SVID is bound to.
        now: Aware, UTC.
        jti: 128 random bits or more, new for each proof.
        ttl: A second to five minutes; the end of the WIT-SVID cuts it short.

    Raises:
        IssueError: The key is not that of the WIT-SVID, that has expired, or there is no `jti` or no `ttl`.
    """
    found: list[Finding] = []
    if key.public_key() != credential.key:
        found.append(Finding(reasons.WPT_KEY, "the key is not the one that the token is bound to"))
    end = min(seconds(now + ttl), seconds(credential.expires_at))
    if end <= seconds(now):
        found.append(Finding(reasons.WPT_CREDENTIAL, "the token that the key belongs to has expired"))
    if not _SECOND <= ttl <= MAX_PROOF_TTL:
        found.append(Finding(reasons.WPT_TTL, f"{ttl} is not between a second and {MAX_PROOF_TTL}"))
    if not jti:
        found.append(Finding(reasons.WPT_ID, "the proof has no id"))
    if found:
        raise IssueError(found)
    statement = scope.statement(credential)
    payload: dict[str, object] = {"aud": statement.target, "exp": end, "jti": jti, "wth": statement.token}
    if statement.transaction is not None:
        payload["tth"] = statement.transaction
    if statement.others:
        payload["oth"] = dict(statement.others)
    header = jws.write_header(statement.algorithm, TYPE)
    return jws.write(header, payload, key=key, algorithm=statement.algorithm)


def hash_of(token: str) -> str:
    """The hash by which a proof names a token: SHA-256, as base64url."""
    return base64url.encode(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())


def _said(payload: Mapping[str, object], algorithm: Algorithm, audience: str) -> Statement:
    transaction, others = payload.get("tth"), payload.get("oth")
    return Statement(
        algorithm=algorithm,
        target=_comparable(audience),
        token=str(payload["wth"]),
        transaction=transaction if isinstance(transaction, str) else None,
        others=MappingProxyType(others if isinstance(others, dict) else {}),
    )


def _comparable(audience: str) -> str:
    try:
        return Target(audience).uri
    except CarriageError:
        return audience  # fits no target

"""How a WIT-SVID and its proof travel over HTTP, and what is answered to a request whose two are no good."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from finial.core.errors import CarriageError, Reason, RefusedError
from finial.core.reasons import carriage, collect, wpt
from finial.core.witsvid import WITSVID
from finial.core.wpt import WorkloadProof

TOKEN_FIELD: Final = "Workload-Identity-Token"  # noqa: S105 - the name of a field
BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401

_VALUE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SCHEME = re.compile(r"(?i:WPT) +(.*)")
_OF_PROOF = frozenset(collect((wpt,)).values())


class ProofCarrier(StrEnum):
    """Which field carries the proof: the drafts differ, so it is a setting. Clauses: WIT-63.

    It is the proof that may stand in Authorization, never the WIT-SVID itself. spec: WIT-40
    """

    FIELD = "workload-proof-token"  # draft-ietf-wimse-wpt-01, 2026-03: a field of its own
    AUTHORIZATION = "authorization"  # draft-ietf-wimse-wpt-02, 2026-08: Authorization, scheme WPT


DEFAULT_CARRIER: Final = ProofCarrier.AUTHORIZATION


@dataclass(frozen=True, slots=True)
class Carried:
    """What a request carries; nothing of it is proven.

    Args:
        token: The WIT-SVID.
        proof: The workload proof token.
    """

    token: str = field(repr=False)
    proof: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to a request that is refused.

    Args:
        status: Of HTTP.
        fields: Names and values.
        body: A problem description (RFC 9457).
    """

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes


def write_fields(
    svid: WITSVID, proof: str, carrier: ProofCarrier = DEFAULT_CARRIER
) -> tuple[tuple[str, str], ...]:
    """The fields of a request that presents a WIT-SVID. Clauses: WIT-38..WIT-40, WIT-58.

    Args:
        svid: The token; it never travels alone.
        proof: Made for this token and this request.
        carrier: Where the receiver looks for the proof.

    Raises:
        TokenParseError: The proof is none.
        CarriageError: It was made for another token.
    """
    if not WorkloadProof(proof).proves(svid.token):
        raise CarriageError.because(wpt.FIELD_PROOF, "the proof was made for another token")
    value = f"WPT {proof}" if carrier is ProofCarrier.AUTHORIZATION else proof
    name = "Authorization" if carrier is ProofCarrier.AUTHORIZATION else "Workload-Proof-Token"
    return (TOKEN_FIELD, svid.token), (name, value)


def read_fields(fields: Iterable[tuple[str, str]], carrier: ProofCarrier = DEFAULT_CARRIER) -> Carried:
    """The token and the proof that a request carries. Clauses: WIT-39, WIT-40, WIT-58.

    Args:
        fields: Names and values, as they came; names in any case, values as they are.
        carrier: Where to look for the proof, and nowhere else.

    Raises:
        CarriageError: One of the two is missing, is there twice, or is not three parts of base64url.
    """
    # `lower` would make a name of ours of one that has the sign for kelvin in place of its k.
    found = [(name.lower(), value.strip(" \t")) for name, value in fields if name.isascii()]
    tokens = [value for name, value in found if name == TOKEN_FIELD.lower()]
    if len(tokens) != 1 or not _VALUE.fullmatch(tokens[0]):
        message = f"there is not exactly one token in {TOKEN_FIELD}"
        raise CarriageError.because(carriage.FIELD_TOKEN, message)
    proofs = [value for name, value in found if name == carrier.value]
    if carrier is ProofCarrier.AUTHORIZATION:
        proofs = [match[1] if (match := _SCHEME.fullmatch(value)) else "" for value in proofs]
    if len(proofs) != 1 or not _VALUE.fullmatch(proofs[0]):
        message = f"there is not exactly one proof in the field {carrier.value}"
        raise CarriageError.because(wpt.FIELD_PROOF, message)
    return Carried(tokens[0], proofs[0])


def answer(refused: RefusedError, carrier: ProofCarrier = DEFAULT_CARRIER) -> Answer:
    """What to answer when a WIT-SVID, its proof or their fields are refused. Clauses: WIT-60.

    A bad WIT-SVID gets 400: no challenge would make the request better. A bad proof gets 401 where it is the
    credentials of a scheme that one can be challenged to. The body names the rules that are broken, and
    quotes nothing of the request.

    Args:
        refused: Why.
        carrier: Where the proof is looked for.
    """
    challenged = carrier is ProofCarrier.AUTHORIZATION and refused.reason in _OF_PROOF
    status = UNAUTHORIZED if challenged else BAD_REQUEST
    fields = [
        ("Content-Type", "application/problem+json"),
        *([("WWW-Authenticate", "WPT")] if challenged else []),
    ]
    broken = [_problem(found.reason) for found in refused.findings]
    document = {"title": "The workload identity is refused", "status": status, "errors": broken}
    return Answer(status, tuple(fields), json.dumps(document).encode("ascii"))


def _problem(reason: Reason) -> dict[str, str]:
    return {"code": reason.id, "detail": reason.meaning}

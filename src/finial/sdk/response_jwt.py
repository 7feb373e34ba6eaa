"""What messages of the JWT profile say: FetchJWTSVID, ValidateJWTSVID and FetchJWTBundles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from finial.core.claims import read_audience
from finial.core.errors import Finding, Kind, Reason, RefusedError, shown
from finial.core.ids import SpiffeID
from finial.core.jws import MAX_TOKEN_BYTES
from finial.core.jwtsvid import JWTSVID
from finial.core.rules.bundle import JWT_USE
from finial.core.strictjson import frozen
from finial.runtime.text import is_unicode
from finial.sdk.keysets import KeySets
from finial.sdk.problems import TOKEN_REFUSED, WorkloadAPIError
from finial.sdk.response import AGENT_HINT, EMPTY, Answer, Hints, ResponseError, filled
from finial.sdk.tokenbundles import JWTBundles
from finial.wire.gen import workload as pb
from finial.wire.structs import read_struct

TOKEN: Final = Reason("workload-response-token", Kind.INVALID, ("WAPI-41", "WAPI-44"), AGENT_HINT)
CLAIMS: Final = Reason("workload-response-claims", Kind.INVALID, ("WAPI-53", "WAPI-54"), AGENT_HINT)
_AUDIENCE: Final = Reason(
    "workload-audience",
    Kind.INVALID,
    ("WAPI-40", "WAPI-54"),
    "Name the service that the token is meant for, as that service knows itself.",
    "A token is asked for, or is to be validated, without the name of the service that it is meant for.",
)


@dataclass(frozen=True, slots=True)
class ValidatedJWT:
    """What the Workload API has found a token to prove.

    Args:
        id: The SPIFFE ID of whoever has shown it.
        claims: The token's claims as JSON values that nobody can change; an agent leaves those out that it
            does not let through from foreign trust domains.
    """

    id: SpiffeID
    claims: Mapping[str, object] = field(repr=False)


def audiences_of(given: Sequence[str]) -> tuple[str, ...]:
    """The audiences, at least one and none of them empty, each once.

    Args:
        given: By the application.

    Raises:
        WorkloadAPIError: There is none, or one is empty or no Unicode.
    """
    if not given or not all(given):
        raise WorkloadAPIError(_AUDIENCE, "a token without an audience, or with an empty one, is for nobody")
    if not all(map(is_unicode, given)):
        raise WorkloadAPIError(_AUDIENCE, "an audience holds half a character, which no token can name")
    return tuple(dict.fromkeys(given))


def check_shown(token: str) -> None:
    """Return when the agent can be asked about what somebody has shown.

    Args:
        token: From whoever wants something, and anything therefore.

    Raises:
        WorkloadAPIError: No token has such characters, or so many.
    """
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        message = (
            f"what was shown is no token: that has up to {MAX_TOKEN_BYTES} characters, all of them ASCII"
        )
        raise WorkloadAPIError(TOKEN_REFUSED, message)


def read_jwt_svids(
    message: pb.JWTSVIDResponse, audience: Iterable[str], wanted: SpiffeID | None
) -> Answer[tuple[JWTSVID, ...]]:
    """What FetchJWTSVID answered. Clauses: WAPI-19, WAPI-41, WAPI-44, WAPI-78.

    Args:
        message: The answer.
        audience: What was asked for.
        wanted: The one identity that was asked for, if it was one.

    Raises:
        ResponseError: It breaks rules, or is no answer to that; `findings` lists everything.
    """
    if not message.svids:
        raise ResponseError.because(EMPTY, "the message holds no SVID", where="svids")
    refused: list[Finding] = []
    passed: list[Finding] = []
    svids: list[JWTSVID] = []
    hints = Hints(passed)
    for number, each in enumerate(message.svids):
        where = f"svids[{number}]"
        svid = _read_svid(each, where, refused)
        if svid is None:
            continue
        if wanted is not None and svid.id != wanted:
            refused.append(Finding(TOKEN, f"the SVID is of {svid.id}, and {wanted} was asked for", where))
        if missing := [shown(name) for name in audience if name not in svid.audience]:
            refused.append(Finding(TOKEN, f"the SVID is not for {', '.join(missing)}", where))
        if hints.fresh(svid.hint, where):
            svids.append(svid)
    if refused:
        raise ResponseError([*refused, *passed])
    return Answer(tuple(svids), tuple(passed))


def read_validated(message: pb.ValidateJWTSVIDResponse, audience: str) -> Answer[ValidatedJWT]:
    """What ValidateJWTSVID answered. Clauses: WAPI-53, WAPI-54.

    Args:
        message: The answer.
        audience: What the token was to be meant for.

    Raises:
        ResponseError: It breaks rules, or contradicts itself or the question.
    """
    refused: list[Finding] = []
    if not filled({"spiffe_id": message.spiffe_id, "claims": message.claims.fields}, "", refused):
        raise ResponseError(refused)
    try:
        spiffe_id = SpiffeID(message.spiffe_id)
        claims = frozen(read_struct(message.claims))
    except RefusedError as error:
        raise ResponseError([Finding(CLAIMS, str(each)) for each in error.findings]) from error
    except ValueError as error:
        raise ResponseError.because(CLAIMS, str(error), where="claims") from error
    if claims.get("sub") != spiffe_id.text:
        refused.append(Finding(CLAIMS, f"they are not those of {spiffe_id}", "claims"))
    if audience not in read_audience(claims.get("aud")):
        refused.append(Finding(CLAIMS, f"they are not those of a token for {shown(audience)}", "claims"))
    if refused:
        raise ResponseError(refused)
    return Answer(ValidatedJWT(spiffe_id, claims))


def read_jwt_bundles(message: pb.JWTBundlesResponse) -> Answer[JWTBundles]:
    """What FetchJWTBundles sent. Clauses: WAPI-15..WAPI-17, WAPI-19, WAPI-47, WAPI-49, WAPI-50.

    Raises:
        ResponseError: It breaks rules; `findings` lists them.
    """
    reader = KeySets(JWT_USE)
    bundles = JWTBundles(reader.read(message.bundles))
    return Answer(bundles, tuple(reader.passed))


def _read_svid(message: pb.JWTSVID, where: str, refused: list[Finding]) -> JWTSVID | None:
    if not filled({"spiffe_id": message.spiffe_id, "svid": message.svid}, where, refused):
        return None
    try:
        svid = JWTSVID.parse(message.svid, hint=message.hint)
    except RefusedError as error:
        refused.extend(Finding(TOKEN, str(found), where) for found in error.findings)
        return None
    if svid.id.text != message.spiffe_id:
        said = f"the SVID is of {svid.id}, and the message says {shown(message.spiffe_id)}"
        refused.append(Finding(TOKEN, said, where))
        return None
    return svid

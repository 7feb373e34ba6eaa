"""A JWT-SVID: a bearer token that names a workload, whom it is meant for, and when it ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from finial.core import jws
from finial.core.bundle import BundleSource
from finial.core.claims import REGISTERED, Claims
from finial.core.errors import Finding, IssueError, RefusedError, TokenParseError, TokenVerifyError
from finial.core.ids import SpiffeID
from finial.core.keys import PrivateKey
from finial.core.reasons import jwt as reasons
from finial.core.rules.engine import Stage
from finial.core.rules.jwt import CLAIMS, HEADER, PRESENTED, TYPE
from finial.core.rules.token import Presented
from finial.core.signed_token import SignedToken
from finial.core.token_authority import TokenAuthority
from finial.core.token_issuer import (
    TokenIssuer,
    claim_findings,
    differing,
    identifiers,
    issuing_findings,
    sign_claims,
    times,
)
from finial.core.token_trust import JWT_USE, check_leeway, find_signer


@dataclass(frozen=True, slots=True)
class JWTSVID(SignedToken):
    """A token that keeps the rules of JWT-SVIDs; whoever holds it can use it, so it is a secret.

    Holding one proves nothing: `validate_jwt` does.

    Args:
        token: See `SignedToken`.
        hint: See there.

    Attributes:
        audience: The claim aud.

    Raises:
        TokenParseError: The token breaks a rule; the same rules as in validating.
    """

    audience: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        compact = jws.read(self.token, HEADER)
        claims = Claims(compact.payload)
        findings = CLAIMS.findings(claims, Stage.PARSE)
        if findings:
            raise TokenParseError(findings)
        self._take(compact, claims, audience=claims.audience)

    @classmethod
    def parse(cls, token: str, *, hint: str = "") -> JWTSVID:
        """The SVID in a token; proves nothing.

        Args:
            token: In compact form.
            hint: See the class.

        Raises:
            TokenParseError: The token breaks a rule.
        """
        return cls(token, hint)


@dataclass(frozen=True, slots=True)
class VerifiedJWT:
    """A SPIFFE ID that has been proven.

    Args:
        id: The ID.
        svid: The token that proves it.
        authority: The key of the bundle that the proof rests on.
    """

    id: SpiffeID
    svid: JWTSVID
    authority: TokenAuthority


def validate_jwt(
    token: str,
    bundles: BundleSource,
    audiences: Collection[str],
    *,
    now: datetime,
    leeway: timedelta = timedelta(0),
) -> VerifiedJWT:
    """The SPIFFE ID that a token proves at an instant. Clauses: JWT-01..JWT-29, JWT-36..JWT-44.

    Args:
        token: In compact form, at most 32 KiB.
        bundles: Asked for the bundle of the trust domain that the token names, and for no other.
        audiences: What the validator goes by, at least one; the token has to name one of them.
        now: Aware, UTC.
        leeway: By how much clocks may differ, at most two minutes; counts for exp and nbf.

    Raises:
        TokenParseError: The token breaks a rule before anything is proven.
        TokenVerifyError: The token proves nothing to this validator; `findings` lists every reason.
    """
    check_leeway(leeway)
    # A text is a collection of texts as well, of its letters.
    wanted = frozenset(() if isinstance(audiences, str) else audiences)
    if not wanted:
        raise TokenVerifyError.because(reasons.JWT_NOBODY, "the validator has no list of audiences to go by")
    svid = JWTSVID(token)
    presented = Presented(
        expires_at=svid.expires_at,
        not_before=svid.not_before,
        now=now,
        leeway=leeway,
        audience=svid.audience,
        wanted=wanted,
    )
    authority = find_signer(svid.signed(), bundles, JWT_USE)
    findings = PRESENTED.findings(presented, Stage.VERIFY)
    if isinstance(authority, Finding):
        raise TokenVerifyError([authority, *findings], subject=svid.id.text)
    if findings:
        raise TokenVerifyError(findings, subject=svid.id.text)
    return VerifiedJWT(svid.id, svid, authority)


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTRequest:
    """What a JWT-SVID is to say.

    Args:
        spiffe_id: Whom it names; has a path.
        audience: Whom it is meant for, at least one; best exactly one. spec: JWT-18, JWT-43
        issuer: The claim iss; empty for none.
        jti: The claim jti, 128 random bits or more; empty for none.
        claims: Further claims, of JSON values; none that the authority sets itself.
    """

    spiffe_id: SpiffeID
    audience: tuple[str, ...]
    issuer: str = ""
    jti: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)


def issue_jwt(
    request: JWTRequest, issuer: TokenIssuer, *, key: PrivateKey, now: datetime, ttl: timedelta
) -> JWTSVID:
    """A new token. Clauses: JWT-01..JWT-15, JWT-21, JWT-45, ID-46.

    Args:
        request: What it says.
        issuer: Under which authority; the token ends no later than it.
        key: The authority's.
        now: Aware, UTC; the claim iat is the second that it is in.
        ttl: Wished lifetime, a second or more.

    Raises:
        IssueError: It must not be issued; nothing has been signed, or what was is thrown away.
    """
    findings = issuing_findings(request.spiffe_id, issuer, key=key, now=now, ttl=ttl)
    if not request.spiffe_id.path:
        message = f"{request.spiffe_id} is the ID of a trust domain"
        findings.append(Finding(reasons.JWT_ROOT_ID, message, "spiffe_id"))
    if not request.audience or not all(request.audience):
        message = "there is no audience, or an empty one"
        findings.append(Finding(reasons.JWT_AUDIENCE_FORM, message, "audience"))
    findings += claim_findings(request.claims, REGISTERED)
    if findings:
        raise IssueError(findings, subject=request.spiffe_id.text)
    set_here: dict[str, object] = {
        "sub": request.spiffe_id.text,
        "aud": list(request.audience),
        **times(issuer, now, ttl),
        **identifiers(request.issuer, request.jti),
    }
    text = sign_claims({**request.claims, **set_here}, issuer, kind=TYPE, key=key)
    return _read_back(text, set_here)


def _read_back(text: str, set_here: Mapping[str, object]) -> JWTSVID:
    try:
        svid = JWTSVID(text)
    except RefusedError as refused:
        raise IssueError(refused.findings) from refused
    findings = [
        *HEADER.findings(svid.header, Stage.ISSUE, "header"),
        *CLAIMS.findings(svid.said, Stage.ISSUE),
        *differing(set_here, svid.said.members),
    ]
    if findings:
        raise IssueError(findings)
    return svid

"""A WIT-SVID: a token that names a workload and the key that the workload holds. Incubating.

It proves nothing alone, and no function here returns a proven identity for the token alone: `validate_wit`
demands a proof that was made with the key (WIT-37). `WITSVID.parse` reads, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from finial.core import confirmation, jws
from finial.core.algorithms import Algorithm, algorithm_of, fits
from finial.core.bundle import BundleSource
from finial.core.claims import REGISTERED, Claims
from finial.core.confirmation import Confirmation
from finial.core.errors import Finding, IssueError, RefusedError, TokenParseError, TokenVerifyError
from finial.core.ids import SpiffeID
from finial.core.keys import PrivateKey, PublicKey, narrow
from finial.core.reasons import wit as reasons
from finial.core.rules.engine import Stage
from finial.core.rules.wit import CLAIMS, CONFIRMATION, HEADER, PRESENTED, TYPE, PresentedWIT
from finial.core.seen_proofs import SeenProofs
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
from finial.core.token_trust import WIT_USE, check_leeway, find_signer
from finial.core.wpt import ProofScope, WorkloadProof

_TAKEN = REGISTERED | {"cnf"}


@dataclass(frozen=True, slots=True)
class WITSVID(SignedToken):
    """A token that keeps the rules of WIT-SVIDs.

    Holding one proves nothing, and presenting it alone proves nothing either.

    Args:
        token: See `SignedToken`.
        hint: See there.

    Attributes:
        key: The public key in the claim cnf.
        key_algorithm: By which that key signs.

    Raises:
        TokenParseError: The token breaks a rule; the same rules as in validating.
    """

    key: PublicKey = field(init=False, compare=False, repr=False)
    key_algorithm: Algorithm = field(init=False, compare=False)

    def __post_init__(self) -> None:
        compact = jws.read(self.token, HEADER)
        claims, bound = Claims(compact.payload), Confirmation(compact.payload.get("cnf"))
        finding = CONFIRMATION.first(bound, Stage.PARSE)
        findings = [*CLAIMS.findings(claims, Stage.PARSE), *([finding] if finding else [])]
        if findings:
            raise TokenParseError(findings)
        self._take(compact, claims, key=bound.key, key_algorithm=bound.algorithm)

    @classmethod
    def parse(cls, token: str, *, hint: str = "") -> WITSVID:
        """The SVID in a token; proves nothing.

        Args:
            token: In compact form.
            hint: See the class.

        Raises:
            TokenParseError: The token breaks a rule.
        """
        return cls(token, hint)


@dataclass(frozen=True, slots=True)
class VerifiedWIT:
    """A SPIFFE ID that has been proven, together with the possession of its key.

    Args:
        id: The ID.
        svid: The token that names it.
        authority: The key of the bundle that the token rests on.
        proof: That the key of the token was at hand.
    """

    id: SpiffeID
    svid: WITSVID
    authority: TokenAuthority
    proof: WorkloadProof


def validate_wit(
    token: str,
    proof: str,
    bundles: BundleSource,
    *,
    scope: ProofScope,
    now: datetime,
    leeway: timedelta = timedelta(0),
    longest: timedelta | None = None,
    seen: SeenProofs | None = None,
) -> VerifiedWIT:
    """The SPIFFE ID that a token and a proof prove for a request. Clauses: WIT-01..WIT-38, WIT-50..WIT-62.

    Args:
        token: The WIT-SVID, at most 32 KiB.
        proof: The workload proof token that came with it.
        bundles: Asked for the bundle of the trust domain that the token names, and for no other.
        scope: The request that both came with.
        now: Aware, UTC.
        leeway: By how much clocks may differ, at most two minutes; never counts for nbf of the WIT-SVID.
        longest: How long a WIT-SVID may live at most; None for any time.
        seen: Accepts each proof once; without it a proof is good until it ends.

    Raises:
        TokenParseError: Token or proof breaks a rule before anything is proven.
        TokenVerifyError: They prove nothing; `findings` lists every reason.
    """
    check_leeway(leeway)
    svid = WITSVID(token)
    presented = PresentedWIT(
        expires_at=svid.expires_at,
        not_before=svid.not_before,
        issued_at=svid.issued_at,
        longest=longest,
        now=now,
        leeway=leeway,
    )
    authority = find_signer(svid.signed(), bundles, WIT_USE)
    findings = PRESENTED.findings(presented, Stage.VERIFY)
    if isinstance(authority, Finding):
        raise TokenVerifyError([authority, *findings], subject=svid.id.text)
    shown = WorkloadProof(proof)
    findings += shown.findings(svid, scope, now=now, leeway=leeway)
    if findings:
        raise TokenVerifyError(findings, subject=svid.id.text)
    if seen is not None:
        # Last, so that nobody can use up a proof that he did not make.
        seen.accept(svid.key, shown.id, until=shown.expires_at + leeway, now=now)
    return VerifiedWIT(svid.id, svid, authority, shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class WITRequest:
    """What a WIT-SVID is to say.

    Args:
        spiffe_id: Whom it names; has a path.
        public_key: The key that it is bound to.
        algorithm: By which that key signs; None for the usual one of its type.
        issuer: The claim iss, best none; nothing that begins with https:. spec: WIT-29
        jti: The claim jti, 128 random bits or more; empty for none. spec: WIT-16
        claims: Further claims, of JSON values; none that the authority sets itself.
    """

    spiffe_id: SpiffeID
    public_key: PublicKey
    algorithm: Algorithm | None = None
    issuer: str = ""
    jti: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)


def issue_wit(
    request: WITRequest, issuer: TokenIssuer, *, key: PrivateKey, now: datetime, ttl: timedelta
) -> WITSVID:
    """A new token. Clauses: WIT-01..WIT-14, WIT-19, WIT-29, WIT-30, WIT-33, WIT-55, ID-46.

    Args:
        request: What it says.
        issuer: Under which authority; the token ends no later than it.
        key: The authority's.
        now: Aware, UTC; the claim iat is the second that it is in.
        ttl: Wished lifetime, a second or more.

    Raises:
        IssueError: It must not be issued; nothing has been signed, or what was is thrown away.
        KeyRefusedError: The key of the workload is not one that is accepted.
    """
    findings = issuing_findings(request.spiffe_id, issuer, key=key, now=now, ttl=ttl)
    if not request.spiffe_id.path:
        message = f"{request.spiffe_id} is the ID of a trust domain"
        findings.append(Finding(reasons.WIT_ROOT_ID, message, "spiffe_id"))
    public_key = narrow(request.public_key)
    algorithm = algorithm_of(public_key) if request.algorithm is None else request.algorithm
    if not fits(algorithm, request.public_key):
        message = f"the algorithm {algorithm} does not go with the key"
        findings.append(Finding(reasons.WIT_CNF_KIND, message, "algorithm"))
    findings += claim_findings(request.claims, _TAKEN)
    if findings:
        raise IssueError(findings, subject=request.spiffe_id.text)
    set_here: dict[str, object] = {
        "sub": request.spiffe_id.text,
        "cnf": confirmation.write(request.public_key, algorithm),
        **times(issuer, now, ttl),
        **identifiers(request.issuer, request.jti),
    }
    text = sign_claims({**request.claims, **set_here}, issuer, kind=TYPE, key=key)
    return _read_back(text, set_here)


def _read_back(text: str, set_here: Mapping[str, object]) -> WITSVID:
    try:
        svid = WITSVID(text)
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

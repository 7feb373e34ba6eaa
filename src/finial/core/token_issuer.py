"""Who signs tokens, and what is the same in signing tokens of both kinds.

A token is built from a request that the server has decided on. It is then read back and held to the same
tables that peers are held to, with the rules for issuers on top; only what passes leaves the core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from finial.core import jws
from finial.core.algorithms import Algorithm, algorithm_of
from finial.core.claims import seconds
from finial.core.errors import Finding, IssueError, shown
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import PrivateKey
from finial.core.reasons import issue, token
from finial.core.token_authority import TokenAuthority

DEFAULT_JWT_TTL = timedelta(minutes=5)
DEFAULT_WIT_TTL = timedelta(hours=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """A key that tokens are signed with, together with the one trust domain that it may speak for.

    Args:
        trust_domain: The domain; subjects of any other are refused. spec: ID-46
        authority: The key, as the bundle publishes it.
    """

    trust_domain: TrustDomain
    authority: TokenAuthority
    algorithm: Algorithm = field(init=False, compare=False)
    # The private key that was found to be the authority's; to compare two keys costs as much as a fifth of a
    # signature, and keys do not change.
    _key: PrivateKey | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", algorithm_of(self.authority.key))
        object.__setattr__(self, "_key", None)

    def signs_with(self, key: PrivateKey) -> bool:
        """Whether a private key is the authority's.

        Args:
            key: Any.
        """
        if key is self._key:
            return True
        if key.public_key() != self.authority.key:
            return False
        object.__setattr__(self, "_key", key)
        return True


def issuing_findings(
    spiffe_id: SpiffeID, issuer: TokenIssuer, *, key: PrivateKey, now: datetime, ttl: timedelta
) -> list[Finding]:
    """Why no token of any kind is signed for a subject, now, with this key."""
    found: list[Finding] = []
    if spiffe_id.trust_domain != issuer.trust_domain:
        message = (
            f"the authority of trust domain {issuer.trust_domain} speaks not for {spiffe_id.trust_domain}"
        )
        found.append(Finding(issue.ISSUE_FOREIGN, message))
    if ttl < _SECOND:
        found.append(Finding(issue.ISSUE_TTL, f"a lifetime of {ttl} is below a second"))
    end = issuer.authority.expires_at
    if end is not None and seconds(end) <= seconds(now):
        found.append(Finding(issue.ISSUE_NOT_TIMELY, f"the key for tokens ends at {end}"))
    # The signature itself is not verified again: that would double the cost of a token that lives minutes.
    if not issuer.signs_with(key):
        found.append(Finding(issue.ISSUE_KEY, "the private key is not that of the authority"))
    return found


def claim_findings(claims: Mapping[str, object], taken: frozenset[str]) -> list[Finding]:
    """Which further claims would replace one that the authority sets."""
    names = sorted(taken.intersection(claims))
    message = f"further claims may not be {', '.join(names)}"
    return [Finding(token.ISSUE_CLAIM, message, "claims")] if names else []


def times(issuer: TokenIssuer, now: datetime, ttl: timedelta) -> dict[str, object]:
    """The claims iat and exp, in whole seconds; exp is the later one and not beyond the authority's end."""
    begin, end = seconds(now), seconds(now + ttl)
    limit = issuer.authority.expires_at
    return {"exp": end if limit is None else min(end, seconds(limit)), "iat": begin}


def identifiers(issuer: str, jti: str) -> dict[str, object]:
    """The claims iss and jti, where there are any."""
    return {name: value for name, value in (("iss", issuer), ("jti", jti)) if value}


def sign_claims(payload: Mapping[str, object], issuer: TokenIssuer, *, kind: str, key: PrivateKey) -> str:
    """A token with these claims.

    Raises:
        IssueError: They are not what JSON can say.
    """
    header = jws.write_header(issuer.algorithm, kind, issuer.authority.key_id)
    try:
        return jws.write(header, payload, key=key, algorithm=issuer.algorithm)
    except (TypeError, ValueError, RecursionError) as caught:
        message = f"a further claim is nothing that JSON can say: {shown(str(caught))}"
        raise IssueError.because(token.ISSUE_CLAIM, message, where="claims") from None


def differing(set_here: Mapping[str, object], claims: Mapping[str, object]) -> list[Finding]:
    """Which claims that were set are not found as they were set.

    Args:
        set_here: As they were given to `sign_claims`.
        claims: As they were read back.
    """
    names = [name for name, value in set_here.items() if claims.get(name) != value]
    return [
        Finding(token.ISSUE_TOKEN, f"the claim {name} is not the one ordered", "claims") for name in names
    ]

"""Who is wanted: small objects that accept a proven SPIFFE ID or say why not.

A matcher is asked after the proof, never instead of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from finial.core.errors import Finding, MatchError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.reasons import identity as reasons


class Matcher(Protocol):
    """The one question that authentication asks about an ID that has been proven."""

    def check(self, spiffe_id: SpiffeID) -> None:
        """Return when the ID is wanted.

        Raises:
            MatchError: It is another.
        """


@dataclass(frozen=True, slots=True)
class AnyID:
    """Accepts every proven ID, of whichever trust domain: authorization has to follow."""

    def check(self, spiffe_id: SpiffeID) -> None:
        """Return always."""


@dataclass(frozen=True, slots=True)
class ExactID:
    """Accepts one ID.

    Args:
        expected: The ID.
    """

    expected: SpiffeID

    def check(self, spiffe_id: SpiffeID) -> None:
        """Return when it is that ID; MatchError otherwise."""
        if spiffe_id != self.expected:
            raise _unexpected(spiffe_id, f"expected {self.expected}")


@dataclass(frozen=True, slots=True)
class OneOf:
    """Accepts each of some IDs; with none, nobody.

    Args:
        expected: The IDs.
    """

    expected: frozenset[SpiffeID]

    def check(self, spiffe_id: SpiffeID) -> None:
        """Return when it is among those; MatchError otherwise."""
        if spiffe_id not in self.expected:
            raise _unexpected(spiffe_id, f"expected one of {len(self.expected)} others")


@dataclass(frozen=True, slots=True)
class MemberOf:
    """Accepts every ID of one trust domain.

    Args:
        trust_domain: The domain.
    """

    trust_domain: TrustDomain

    def check(self, spiffe_id: SpiffeID) -> None:
        """Return when it is in that domain; MatchError otherwise."""
        if not spiffe_id.member_of(self.trust_domain):
            raise _unexpected(spiffe_id, f"expected a member of {self.trust_domain}")


ANY_ID = AnyID()


def _unexpected(spiffe_id: SpiffeID, wanted: str) -> MatchError:
    return MatchError([Finding(reasons.ID_UNEXPECTED, f"the peer is {spiffe_id}, {wanted}")])

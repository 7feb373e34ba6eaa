"""What tokens of both kinds have in common, once their rules have been kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from finial.core import jws
from finial.core.algorithms import Algorithm
from finial.core.claims import Claims
from finial.core.ids import SpiffeID
from finial.core.strictjson import frozen
from finial.core.token_trust import Signed


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token that was read; holding one proves nothing. Two are equal when their tokens and hints are.

    Args:
        token: In compact form, at most 32 KiB; left out of representation.
        hint: What the operator calls this SVID among several of one workload.

    Attributes:
        id: The claim sub.
        expires_at: The claim exp.
        key_id: The header parameter kid; empty when there is none.
        algorithm: The header parameter alg.
        issued_at: The claim iat, if there is one.
        not_before: The claim nbf, if there is one.
        said: The claims, as the rules look at them.
        header: The header parameters, as JSON values that nobody can change.
    """

    token: str = field(repr=False)
    hint: str = ""
    id: SpiffeID = field(init=False, compare=False)
    expires_at: datetime = field(init=False, compare=False)
    key_id: str = field(init=False, compare=False)
    algorithm: Algorithm = field(init=False, compare=False)
    issued_at: datetime | None = field(init=False, compare=False)
    not_before: datetime | None = field(init=False, compare=False)
    said: Claims = field(init=False, compare=False, repr=False)
    header: Mapping[str, object] = field(init=False, compare=False, repr=False)
    _signature: bytes = field(init=False, compare=False, repr=False)

    @property
    def claims(self) -> Mapping[str, object]:
        """All claims, as JSON values that nobody can change: arrays are tuples."""
        return frozen(self.said.members)

    def signed(self) -> Signed:
        """What it takes to find its key."""
        return Signed(
            id=self.id,
            key_id=self.key_id,
            algorithm=self.algorithm,
            data=jws.signed_part(self.token),
            signature=self._signature,
        )

    def _take(self, compact: jws.Compact, claims: Claims, **more: object) -> None:
        """Set what is read, and what a kind has besides."""
        header, put = compact.header, object.__setattr__
        put(self, "id", claims.subject)
        put(self, "expires_at", claims.expires_at)
        put(self, "key_id", header.get("kid", ""))
        put(self, "algorithm", Algorithm(str(header["alg"])))
        put(self, "issued_at", claims.issued_at)
        put(self, "not_before", claims.not_before)
        put(self, "said", claims)
        put(self, "header", header)
        put(self, "_signature", compact.signature)
        for name, value in more.items():
            put(self, name, value)

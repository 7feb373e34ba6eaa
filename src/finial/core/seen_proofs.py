"""The proofs that were accepted, each until it would be refused anyhow. Clauses: WIT-53."""

from __future__ import annotations

import hashlib
import heapq
from datetime import datetime

from finial.core.errors import TokenVerifyError
from finial.core.keys import PublicKey, public_key_der
from finial.core.reasons import wpt as reasons

DEFAULT_LIMIT = 100_000


class SeenProofs:
    """A memory for one validator, which accepts each proof once.

    It is bounded: when it is full of proofs that have not ended, further ones are refused, since none could
    be told from a used one. An entry costs about 200 bytes and leaves with the end of its proof.

    Args:
        limit: How many are remembered at most.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._seen: set[bytes] = set()
        self._ends: list[tuple[datetime, bytes]] = []  # a heap; the same proofs as in the set

    def __len__(self) -> int:
        return len(self._seen)

    def accept(self, key: PublicKey, proof_id: str, *, until: datetime, now: datetime) -> None:
        """Remember a proof that was not seen before.

        Args:
            key: That made it; ids of other keys do not count against it.
            proof_id: The claim jti.
            until: When it would be refused as expired.
            now: Aware, UTC.

        Raises:
            TokenVerifyError: It was seen, or the memory is full.
        """
        while self._ends and self._ends[0][0] <= now:
            self._seen.discard(heapq.heappop(self._ends)[1])
        name = hashlib.sha256(public_key_der(key) + proof_id.encode("utf-8", "surrogatepass")).digest()
        if name in self._seen:
            raise TokenVerifyError.because(reasons.WPT_REPLAYED, "it was accepted before", where="proof")
        if len(self._seen) >= self._limit:
            message = f"{self._limit} proofs are remembered, which is the most"
            raise TokenVerifyError.because(reasons.WPT_MEMORY, message, where="proof")
        self._seen.add(name)
        heapq.heappush(self._ends, (until, name))

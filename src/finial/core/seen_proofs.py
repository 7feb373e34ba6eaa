"""The proofs that were accepted, each until it would be refused anyhow. Clauses: WIT-53."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from datetime import datetime

from finial.core.errors import TokenVerifyError
from finial.core.keys import PublicKey, public_key_der
from finial.core.reasons import wpt as reasons

DEFAULT_LIMIT = 100_000


class SeenProofs:
    """A memory for one validator, which accepts each proof once; to be used by one thread at a time.

    It is bounded: where there is no room, further proofs are refused, since none could be told from a used
    one. A key may have as many as there is room left for others: half of all when it is the only one, less
    with each other that fills what it can. So nobody who is known, and floods, keeps others out. An entry
    costs about 300 bytes and leaves with the end of its proof.

    Args:
        limit: How many are remembered at most.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._seen: set[bytes] = set()
        self._ends: list[tuple[datetime, bytes, bytes]] = []  # a heap; the same proofs, each with its key
        self._of: Counter[bytes] = Counter()  # how many there are, by key; none is zero

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
            TokenVerifyError: It was seen, or there is no room for it.
        """
        while self._ends and self._ends[0][0] <= now:
            self._forget(heapq.heappop(self._ends))
        owner = hashlib.sha256(public_key_der(key)).digest()
        name = hashlib.sha256(owner + proof_id.encode("utf-8", "surrogatepass")).digest()
        if name in self._seen:
            raise TokenVerifyError.because(reasons.WPT_REPLAYED, "it was accepted before", where="proof")
        if self._of[owner] >= self._limit - len(self._seen):
            message = f"{len(self._seen)} proofs are remembered, {self._of[owner]} of them by this key"
            raise TokenVerifyError.because(reasons.WPT_MEMORY, message, where="proof")
        self._seen.add(name)
        self._of[owner] += 1
        heapq.heappush(self._ends, (until, name, owner))

    def _forget(self, entry: tuple[datetime, bytes, bytes]) -> None:
        _, name, owner = entry
        self._seen.discard(name)
        self._of[owner] -= 1
        if not self._of[owner]:
            del self._of[owner]

"""The keys that tokens are signed with, as bundles publish them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from finial.core.algorithms import algorithm_of
from finial.core.errors import BundleError, KeyRefusedError, shown
from finial.core.keys import PublicKey, public_key_der
from finial.core.reasons import bundle as reasons

MAX_KEY_ID_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthority:
    """A JWT authority or a WIT authority: which of the two, the place in a bundle says.

    Args:
        key_id: What tokens name it by; case-sensitive, unique in its bundle over both kinds.
        key: Its public key.
        expires_at: When it signs no more, whole seconds; None when the publisher does not say.
        tainted: Whether to rotate away from it; it is trusted all the same.

    Raises:
        BundleError: There is no key id, or it is longer than 1,024 bytes, or no token can be signed by the
            key. Clauses: JWT-35, WIT-45.
    """

    key_id: str
    key: PublicKey
    expires_at: datetime | None = None
    tainted: bool = False

    def __post_init__(self) -> None:
        if not self.key_id or len(self.key_id.encode("utf-8", "replace")) > MAX_KEY_ID_BYTES:
            message = f"a key id has 1 to {MAX_KEY_ID_BYTES} bytes, not {len(self.key_id)}"
            raise BundleError.because(reasons.ENTRY_KEY_ID, message)
        try:
            algorithm_of(self.key)
        except KeyRefusedError as refused:
            raise BundleError.because(
                reasons.ENTRY_KEY, refused.message, where=shown(self.key_id)
            ) from refused

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenAuthority) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[object, ...]:
        # Keys of `cryptography` have no hash of their own.
        return self.key_id, public_key_der(self.key), self.expires_at, self.tainted

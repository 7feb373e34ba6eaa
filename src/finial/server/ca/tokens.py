"""Signing tokens: JWT-SVIDs and WIT-SVIDs, by the key that is active at that moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from finial.core.ids import TrustDomain
from finial.core.jwtsvid import JWTSVID, JWTRequest, issue_jwt
from finial.core.keys import PrivateKey
from finial.core.token_authority import TokenAuthority
from finial.core.token_issuer import TokenIssuer
from finial.core.witsvid import WITSVID, WITRequest, issue_wit
from finial.runtime.clock import Clock
from finial.server.ca.orders import INITIALIZING, OrderError


@dataclass(slots=True)
class _Signed:
    """What has been signed by a key that nobody but this process has ever signed by.

    Args:
        expires_at: When the key ends, and may be forgotten.
        last_end: When the last token ends.
    """

    expires_at: datetime
    last_end: datetime


class TokenSigner:
    """The key of a trust domain for one kind of tokens, whichever slot it is in.

    Args:
        trust_domain: The only one for whose members it signs.
        clock: Says from when tokens are valid.
    """

    def __init__(self, trust_domain: TrustDomain, *, clock: Clock) -> None:
        self._trust_domain = trust_domain
        self._clock = clock
        self._signer: tuple[TokenIssuer, PrivateKey] | None = None  # written by the rotation alone
        self._signed: dict[str, _Signed] = {}  # by key id
        self._current: _Signed | None = None  # the one of them that tokens are signed by now

    def __repr__(self) -> str:
        key_id = None if self.authority is None else self.authority.key_id
        return f"{type(self).__name__}({self._trust_domain}, {key_id})"

    @property
    def trust_domain(self) -> TrustDomain:
        """The one for whose members it signs."""
        return self._trust_domain

    @property
    def authority(self) -> TokenAuthority | None:
        """What it signs by; None before the first activation."""
        return None if self._signer is None else self._signer[0].authority

    def use(self, authority: TokenAuthority, key: PrivateKey, *, first: bool = False) -> None:
        """Sign by this from now on; it is published already.

        Args:
            authority: The public half, with its key id and its end.
            key: The private one.
            first: Nothing has been signed by it yet.
        """
        now = self._clock.now()
        self._signer = (TokenIssuer(self._trust_domain, authority), key)
        self._signed = {each: signed for each, signed in self._signed.items() if now < signed.expires_at}
        if first and authority.expires_at is not None:
            self._signed[authority.key_id] = _Signed(authority.expires_at, now)
        self._current = self._signed.get(authority.key_id)

    def last_end(self, key_id: str) -> datetime | None:
        """When the last token that may have been signed by a key ends.

        Args:
            key_id: The key's; what was signed by it before this process began is not known, and then it is
                None.
        """
        signed = self._signed.get(key_id)
        return None if signed is None else signed.last_end

    def _ready(self) -> tuple[TokenIssuer, PrivateKey]:
        """What to sign by.

        Raises:
            OrderError: There is no key yet; of kind UNAVAILABLE.
        """
        if self._signer is None:
            raise OrderError(INITIALIZING, "server is initializing")
        return self._signer

    def _note(self, end: datetime) -> None:
        """Remember when a token ends."""
        if self._current is not None and self._current.last_end < end:
            self._current.last_end = end


class JWTSigner(TokenSigner):
    """Signs JWT-SVIDs."""

    def sign_jwt(self, request: JWTRequest, ttl: timedelta) -> JWTSVID:
        """A new JWT-SVID.

        Args:
            request: What it says, decided on by the server.
            ttl: Wished lifetime; it never lives longer than the key.

        Raises:
            OrderError: There is no key yet; of kind UNAVAILABLE.
            IssueError: It must not be issued, or the key has ended.
        """
        issuer, key = self._ready()
        svid = issue_jwt(request, issuer, key=key, now=self._clock.now(), ttl=ttl)
        self._note(svid.expires_at)
        return svid


class WITSigner(TokenSigner):
    """Signs WIT-SVIDs."""

    def sign_wit(self, request: WITRequest, ttl: timedelta) -> WITSVID:
        """A new WIT-SVID.

        Args:
            request: What it says, decided on by the server; its key is the subject's.
            ttl: Wished lifetime; it never lives longer than the key of the server.

        Raises:
            OrderError: There is no key yet; of kind UNAVAILABLE.
            IssueError: It must not be issued, or the key has ended.
        """
        issuer, key = self._ready()
        svid = issue_wit(request, issuer, key=key, now=self._clock.now(), ttl=ttl)
        self._note(svid.expires_at)
        return svid

"""TLS sessions that are not open until the peer's SPIFFE ID has been proven and authorised.

OpenSSL checks a peer against one union of roots, so whatever it accepts is judged again, by the bundle of the
one trust domain that the leaf names. That happens inside `do_handshake`, and reading or writing without it
does it first: no byte of an application passes an unproven peer.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finial.core.bundle import BundleSource
from finial.core.errors import FinialError, Kind, Reason
from finial.core.match import Matcher
from finial.core.x509path import VerifiedX509, verify_x509
from finial.runtime.clock import Clock
from finial.runtime.tls import presented_chain

_log = logging.getLogger("finial.sdk")

_OPENSSL = Reason(
    "tls-handshake", Kind.UNTRUSTED, hint="Check that both sides have SVIDs and trust each other's roots."
)
_ANONYMOUS = Reason(
    "tls-no-certificate", Kind.UNTRUSTED, ("X509-35",), "The peer has to present its X.509-SVID."
)
_RESUMED = Reason("tls-resumed", Kind.UNTRUSTED, hint="The peer has to make a full handshake.")
_VERIFIER = Reason("tls-verifier", Kind.INTERNAL)


class HandshakeRefusedError(ssl.SSLCertVerificationError):
    """A handshake that we refused; the text is that of the error behind it.

    It is an error of `ssl`, so that asyncio, http.client and the libraries above them treat it as theirs do.

    Args:
        error: Why.
    """

    def __init__(self, error: FinialError) -> None:
        super().__init__(1, str(error))
        self.error = error
        self.library = "FINIAL"
        self.reason = "CERTIFICATE_VERIFY_FAILED"
        self.verify_code = 1
        self.verify_message = str(error)

    def __str__(self) -> str:
        return str(self.error)


@dataclass(frozen=True, slots=True)
class Judge:
    """Says who a peer is, and whether it is wanted. Clauses: WAPI-21.

    Args:
        bundles: Asked at each handshake, so that a bundle that was withdrawn counts no more.
        accept: Asked about the ID once it is proven.
        clock: Tells when the chain has to be valid.
    """

    bundles: BundleSource
    accept: Matcher
    clock: Clock

    def __call__(self, chain: tuple[bytes, ...]) -> VerifiedX509:
        """The peer's proven ID; FinialError to refuse it."""
        try:
            return verify_x509(chain, self.bundles, now=self.clock.now(), accept=self.accept)
        except FinialError:
            raise
        except Exception as error:
            _log.exception("the judge of peers failed")
            raise FinialError(_VERIFIER, "the peer's certificate could not be judged") from error


class HandshakeContext(ssl.SSLContext):
    """What one handshake uses: an identity and roots as they were when it began.

    Args:
        protocol: As for `ssl.SSLContext`.
        wrap: Wraps a socket that a listening one has accepted, by what is newest then.
        judge: Of the peer; None when the peer is not asked who it is.
        refusal: Why there can be no handshake; None when there can.
    """

    def __init__(
        self,
        protocol: int,
        wrap: Callable[..., ssl.SSLSocket],
        *,
        judge: Judge | None = None,
        refusal: FinialError | None = None,
    ) -> None:
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE if judge is None else ssl.CERT_REQUIRED
        self.wrap_accepted = wrap
        self.judge = judge
        self.refusal = refusal
        self.sslobject_class = JudgedObject
        self.sslsocket_class = JudgedSocket

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:  # noqa: ANN401 - as `ssl` has it
        """Used by a listening socket for those that it accepts."""
        return self.wrap_accepted(*arguments, **named)


class _Judged:
    """How far a session is; for the two classes below."""

    verified: VerifiedX509 | None = None
    """The peer, once proven; None before, and where the peer is not asked who it is."""
    admitted = False
    """Whether the handshake is over and the peer is wanted."""
    _refusal: FinialError | None = None

    def _shake_hands(self, session: ssl.SSLObject | ssl.SSLSocket, go_on: Callable[[], None]) -> None:
        if self._refusal is None and not self.admitted:
            try:
                self.verified = _verified(session, go_on)
            except HandshakeRefusedError as refused:
                self._refusal = refused.error
                side = "client" if session.server_side else "server"
                _log.info("refused a %s in the TLS handshake: %s", side, refused)
                raise
            self.admitted = True
        if self._refusal is not None:
            raise HandshakeRefusedError(self._refusal)


class JudgedObject(_Judged, ssl.SSLObject):
    """A session over memory buffers, as asyncio uses it."""

    def do_handshake(self) -> None:
        """Go on with the handshake; raises HandshakeRefusedError, or what `ssl` raises."""
        self._shake_hands(self, super().do_handshake)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002, ANN401 - as `ssl` has it
        """Read, once the peer is admitted."""
        if not self.admitted:
            self.do_handshake()
        return super().read(len, buffer)

    def write(self, data: Any) -> int:  # noqa: ANN401 - as `ssl` has it
        """Write, once the peer is admitted."""
        if not self.admitted:
            self.do_handshake()
        return super().write(data)


class JudgedSocket(_Judged, ssl.SSLSocket):
    """A session over a socket."""

    def do_handshake(self, block: bool = False) -> None:
        """Make the handshake; raises HandshakeRefusedError, or what `ssl` raises."""
        self._shake_hands(self, lambda: super(JudgedSocket, self).do_handshake(block))

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002, ANN401 - as `ssl` has it
        """Read, once the peer is admitted."""
        self._admit()
        return super().read(len, buffer)

    def write(self, data: Any) -> int:  # noqa: ANN401 - as `ssl` has it
        """Write, once the peer is admitted."""
        self._admit()
        return super().write(data)

    def send(self, data: Any, flags: int = 0) -> int:  # noqa: ANN401 - as `ssl` has it
        """Send, once the peer is admitted."""
        self._admit()
        return super().send(data, flags)

    def _admit(self) -> None:
        # Without a session (not yet connected, or unwrapped) it is a plain socket, as `ssl` has it.
        if not self.admitted and getattr(self, "_sslobj", None) is not None:
            self.do_handshake()


def _verified(session: ssl.SSLObject | ssl.SSLSocket, go_on: Callable[[], None]) -> VerifiedX509 | None:
    context = session.context
    assert isinstance(context, HandshakeContext)
    if context.refusal is not None:
        raise HandshakeRefusedError(context.refusal)
    try:
        go_on()
    except ssl.SSLCertVerificationError as error:
        raise HandshakeRefusedError(_explained(session, context, error)) from error
    except ssl.SSLError as error:
        if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            raise HandshakeRefusedError(
                FinialError(_ANONYMOUS, "the peer presented no certificate")
            ) from error
        raise
    if session.session_reused:
        raise HandshakeRefusedError(FinialError(_RESUMED, "the peer resumed an earlier session"))
    if context.judge is None:
        return None
    try:
        return context.judge(presented_chain(session))
    except FinialError as error:
        raise HandshakeRefusedError(error) from error


def _explained(
    session: ssl.SSLObject | ssl.SSLSocket, context: HandshakeContext, error: ssl.SSLCertVerificationError
) -> FinialError:
    """OpenSSL knows only that no root fits; our own judge can name the peer and what is missing."""
    chain = presented_chain(session)
    if chain and context.judge is not None:
        try:
            context.judge(chain)
        except FinialError as refused:
            return refused
    return FinialError(_OPENSSL, f"the peer's certificate does not verify: {error.verify_message}")

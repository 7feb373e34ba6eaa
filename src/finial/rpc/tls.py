"""TLS on memory buffers: one session, without sockets and without an event loop.

asyncio's own TLS transport keeps a buffer of 256 KiB for each connection and hides the chain of a peer that
it refused; this one keeps what OpenSSL keeps, and shows the chain to `verify` in either case.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from finial.core.errors import FinialError, Kind, Reason
from finial.runtime.tls import presented_chain

_log = logging.getLogger("finial.rpc")

_RECORD = 16_384

Verify = Callable[[tuple[bytes, ...]], object]

_HANDSHAKE = Reason(
    "tls-handshake", Kind.UNTRUSTED, hint="Check that both sides speak TLS here and trust each other's roots."
)
_ALPN = Reason("tls-alpn", Kind.INVALID, hint="The peer has to offer HTTP/2 (ALPN 'h2').")
_VERIFIER = Reason("tls-verifier", Kind.INTERNAL)
_RESUMED = Reason("tls-resumed", Kind.UNTRUSTED, hint="The peer has to make a full handshake.")


class TLSError(FinialError):
    """The TLS session cannot begin or go on."""


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """TLS for a listener.

    Args:
        context: Asked at every accept, so that a new context serves from the next connection on.
        verify: Presented chain (DER, leaf first) to the peer's identity; raises FinialError to refuse. Not
            called when the client shows no certificate.
    """

    context: Callable[[], ssl.SSLContext]
    verify: Verify


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """TLS for a channel.

    Args:
        context: Asked at every connection.
        verify: Presented chain (DER, leaf first) to the server's identity; raises FinialError to refuse.
    """

    context: Callable[[], ssl.SSLContext]
    verify: Verify


class TLSSession:
    """One side of one TLS connection.

    Args:
        config: A ServerTLS for the accepting side, a ClientTLS for the other.
    """

    __slots__ = (
        "_config",
        "_incoming",
        "_outgoing",
        "_ssl",
        "chain",
        "ended",
        "established",
        "identity",
        "ready",
    )

    def __init__(self, config: ServerTLS | ClientTLS) -> None:
        self._config = config
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = config.context().wrap_bio(
            self._incoming, self._outgoing, server_side=isinstance(config, ServerTLS)
        )
        self.established = False  # OpenSSL is content, and the peer speaks HTTP/2
        self.ended = False  # the peer said goodbye
        self.ready = False  # and so is `verify`
        self.chain: tuple[bytes, ...] = ()
        self.identity: object | None = None

    def handshake(self) -> bool:
        """Go on with the handshake as far as the input received allows; whether that was its end.

        Raises:
            TLSError: The handshake failed, or the peer does not speak HTTP/2.
            FinialError: `verify` refused the peer.
        """
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            # OpenSSL knows only that no root fits. Our verifier can name the peer and what is missing.
            chain = presented_chain(self._ssl)
            if chain:
                self._judge(chain)
            raise TLSError(
                _HANDSHAKE, f"the peer's certificate does not verify: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise TLSError(_HANDSHAKE, f"TLS handshake failed: {_text(error)}") from error
        self._admit()
        return True

    def _admit(self) -> None:
        if self._ssl.selected_alpn_protocol() != "h2":
            raise TLSError(_ALPN, "the peer did not agree on HTTP/2")
        if self._ssl.session_reused:
            raise TLSError(_RESUMED, "the peer resumed an earlier session")
        self.established = True
        self.chain = presented_chain(self._ssl)
        if self.chain or isinstance(self._config, ClientTLS):
            self.identity = self._judge(self.chain)
        self.ready = True

    def _judge(self, chain: tuple[bytes, ...]) -> object:
        try:
            return self._config.verify(chain)
        except FinialError:
            raise
        except Exception as error:
            _log.exception("the verifier of peers failed")
            raise TLSError(_VERIFIER, "the peer's certificate could not be judged") from error

    def feed(self, data: bytes) -> None:
        """Take bytes from the network; whatever follows the peer's goodbye is dropped."""
        if not self.ended:
            self._incoming.write(data)

    def read(self) -> bytes:
        """What the peer said, decrypted; empty when there is no more for now.

        Raises:
            TLSError: The peer broke the protocol.
        """
        pieces = []
        try:
            while piece := self._ssl.read(_RECORD):
                pieces.append(piece)
            self.ended = True  # so OpenSSL reports a goodbye, as long as we have not said ours
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TLSError(_HANDSHAKE, f"TLS failed: {_text(error)}") from error
        return b"".join(pieces)

    def write(self, data: bytes) -> None:
        """Encrypt bytes for the peer; `outgoing` has the result.

        Raises:
            TLSError: The session has ended.
        """
        try:
            self._ssl.write(data)
        except ssl.SSLError as error:
            raise TLSError(_HANDSHAKE, f"TLS failed: {_text(error)}") from error

    def outgoing(self) -> bytes:
        """Bytes for the network."""
        return self._outgoing.read()

    def say_goodbye(self) -> None:
        """Put the closing alert into the outgoing bytes, if the session ever began."""
        try:
            self._ssl.unwrap()
        except (ssl.SSLError, ValueError):
            return  # it waits for the peer's goodbye, which we do not; or there is no session to end


def _text(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")

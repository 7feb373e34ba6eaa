"""TLS contexts: what OpenSSL is told; who the peer is, `core` decides afterwards.

A context holds the union of all roots that may matter, for OpenSSL's own check. That check alone would let
any of those authorities vouch for any name, so the presented chain is always verified again, against the
bundle of the one trust domain that its leaf names (transport rule in ARCHITECTURE.md).
"""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger("finial.tls")

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: our verifier judges time, by the clock it is given
_ENCODING_DER = 2  # of the inner certificate object, before CPython 3.13
_LONGEST_PRESENTED = 32  # certificates that are handed on; core has its own, lower bound


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain with the key of its leaf.

    Args:
        chain_pem: PEM, leaf first.
        key_pem: PEM, PKCS#8, unencrypted.
    """

    chain_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "KeyPair(...)"


def server_context(identity: KeyPair, client_roots: Iterable[bytes]) -> ssl.SSLContext:
    """A context for a listener: asks for a client certificate and does not insist on one.

    Args:
        identity: What the server shows.
        client_roots: DER certificates of every authority, of any trust domain, that clients may come from.

    Raises:
        ssl.SSLError: Chain and key do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["h2"])
    harden(context, client_roots)
    load_identity(context, identity)
    return context


def client_context(
    server_roots: Iterable[bytes], identity: KeyPair | None = None, *, insecure: bool = False
) -> ssl.SSLContext:
    """A context for a client; the server's name is no host name, so none is checked.

    Args:
        server_roots: DER certificates of the authorities that the server may come from.
        identity: What the client shows; None for an anonymous client.
        insecure: Let OpenSSL accept any chain; for a first contact without trust, asked for by name.

    Raises:
        ssl.SSLError: Chain and key do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    harden(context, server_roots)
    if identity is not None:
        load_identity(context, identity)
    return context


def harden(context: ssl.SSLContext, roots: Iterable[bytes] = ()) -> None:
    """Give a context what every context of ours has: the bounds, and OpenSSL's check of the chain alone.

    Args:
        context: Fresh; ALPN, the verify mode and the identity are its maker's matter.
        roots: DER certificates of the authorities that peers may come from. OpenSSL reads less than we do:
            one that it cannot read proves nobody, and keeps nobody from being proven by another one.
    """
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # a resumed session would skip the check of the peer
        context.options |= ssl.OP_NO_TICKET
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    for root in roots:
        try:
            context.load_verify_locations(cadata=root)
        except ssl.SSLError:
            name = hashlib.sha256(root).hexdigest()
            _log.warning("OpenSSL cannot read an authority: nobody below it can connect (SHA-256 %s)", name)


def load_identity(context: ssl.SSLContext, identity: KeyPair) -> None:
    """Let a context show this identity.

    Raises:
        ssl.SSLError: Chain and key do not fit.
    """
    # OpenSSL wants a path. A memory file has one and leaves nothing on any disk.
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(identity.key_pem + b"\n" + identity.chain_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")


def presented_chain(session: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """The chain as the peer sent it (DER, leaf first), also after a failed verification; may be empty."""
    # Public from CPython 3.13 on; before, the inner object has it.
    inner: Any = session if hasattr(session, "get_unverified_chain") else session._sslobj  # type: ignore[union-attr]  # noqa: SLF001
    # A server that refused a client has lost what was sent, but not what OpenSSL made of it.
    chain = inner.get_unverified_chain() or inner.get_verified_chain() or ()
    # Before CPython 3.13 a server finds None where an anonymous client's leaf would be.
    return tuple(_der(certificate) for certificate in chain[:_LONGEST_PRESENTED] if certificate is not None)


def _der(certificate: Any) -> bytes:  # noqa: ANN401 - its type has no public name before CPython 3.13
    if isinstance(certificate, bytes):
        return certificate
    return bytes(certificate.public_bytes(_ENCODING_DER))

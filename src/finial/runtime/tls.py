"""TLS contexts: what OpenSSL is told; who the peer is, `core` decides afterwards.

A context holds the union of all roots that may matter, for OpenSSL's own check. That check alone would let
any of those authorities vouch for any name, so the presented chain is always verified again, against the
bundle of the one trust domain that its leaf names (transport rule in ARCHITECTURE.md).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: our verifier judges time, by the clock it is given


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
        ssl.SSLError: Chain and key do not fit, or a root is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # a resumed session would skip the check of the peer
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    _common(context, client_roots)
    _load(context, identity)
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
        ssl.SSLError: Chain and key do not fit, or a root is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_RENEGOTIATION
    _common(context, server_roots)
    if identity is not None:
        _load(context, identity)
    return context


def _common(context: ssl.SSLContext, roots: Iterable[bytes]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    context.options |= ssl.OP_NO_COMPRESSION
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    for root in roots:
        context.load_verify_locations(cadata=root)


def _load(context: ssl.SSLContext, identity: KeyPair) -> None:
    # OpenSSL wants a path. A memory file has one and leaves nothing on any disk.
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(identity.key_pem + b"\n" + identity.chain_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")

"""TLS for applications: contexts of `ssl` that show the newest SVID and know a peer by its SPIFFE ID.

    async with X509Source() as source:
        context = server_context(source, source, MemberOf(TrustDomain("example.org")))
        server = await asyncio.start_server(serve, port=8443, ssl=context)
        # in `serve`: peer_id(writer) is the caller's SPIFFE ID

They are real `ssl.SSLContext`s, for asyncio, http.client, and every library that takes one. Each new
connection uses what is newest; a new inner context is built only when something has changed, since that
costs milliseconds. Options, protocol versions, ciphers and ALPN are the application's to set. How peers are
verified is not: `verify_mode`, `check_hostname` and further roots have no effect.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from finial.core.bundle import BundleSet, BundleSource
from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import SpiffeID
from finial.core.match import Matcher
from finial.core.x509path import VerifiedX509
from finial.core.x509svid import X509SVID
from finial.runtime.clock import Clock, SystemClock
from finial.runtime.tls import KeyPair, harden, load_identity
from finial.sdk.handshake import HandshakeContext, Judge, JudgedObject, JudgedSocket

_IDENTITY = Reason(
    "tls-identity",
    Kind.INVALID,
    hint="OpenSSL cannot use this SVID: look at its kind of key.",
)
_NO_PEER = Reason(
    "tls-no-peer",
    Kind.MISSING,
    hint="Ask the TLS object of a connection whose context was made here, after its handshake.",
)


class SVIDSource(Protocol):
    """Where TLS gets the SVID that it shows: an X509Source, an X509Context, or anything alike."""

    @property
    def svid(self) -> X509SVID:
        """The newest SVID, with its key; raises FinialError when there is none."""


class TrustSource(BundleSource, Protocol):
    """Where TLS gets the bundles that it verifies peers with: an X509Source, an X509Context, X509Bundles."""

    @property
    def bundles(self) -> BundleSet:
        """All of the newest bundles; raises FinialError when there are none."""


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Values that never change, as sources."""

    svid: X509SVID


@dataclass(frozen=True, slots=True)
class _Material:
    """What an inner context is made of; equal material makes the same context."""

    svid: X509SVID | None
    bundles: BundleSet
    settings: tuple[object, ...]


class FollowingContext(ssl.SSLContext):
    """A context that follows its sources; made by the four functions of this module.

    Args:
        protocol: `ssl.PROTOCOL_TLS_CLIENT` or `ssl.PROTOCOL_TLS_SERVER`.
        svids: What to show; None for nothing.
        bundles: What to verify peers with; None when the peer is not asked who it is.
        judge: Of peers; None with `bundles`.
    """

    def __init__(
        self,
        protocol: int,
        svids: SVIDSource | None,
        bundles: BundleSet | TrustSource | None,
        *,
        judge: Judge | None,
    ) -> None:
        self._svids = svids
        self._bundles = bundles
        self._judge = judge
        self._alpn: list[str] = []
        self._ciphers: str | None = None
        self._held: tuple[_Material, HandshakeContext] | None = None  # swapped whole, by any thread
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE if judge is None else ssl.CERT_REQUIRED
        harden(self)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Which application protocols to agree on."""
        self._alpn = list(alpn_protocols)
        super().set_alpn_protocols(self._alpn)

    def set_ciphers(self, cipherlist: str, /) -> None:
        """Which ciphers to use with TLS 1.2."""
        super().set_ciphers(cipherlist)
        self._ciphers = cipherlist

    def load_cert_chain(self, *_: object, **__: object) -> None:
        """Refused: the identity comes from the source.

        Raises:
            ValueError: Always.
        """
        raise ValueError("this context shows the SVID of its source; no other certificate can be loaded")

    def wrap_bio(  # noqa: PLR0917 - as `ssl` has it
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """A session over memory buffers, by what is newest; an earlier session is never resumed."""
        return self._newest().wrap_bio(
            incoming, outgoing, server_side=server_side, server_hostname=server_hostname
        )

    def wrap_socket(self, sock: Any, *arguments: Any, **named: Any) -> ssl.SSLSocket:  # noqa: ANN401 - as `ssl` has it
        """A session over a socket, by what is newest; an earlier session is never resumed."""
        named.pop("session", None)
        return ssl.SSLContext.wrap_socket(self._newest(), sock, *arguments[:4], **named)

    def _newest(self) -> HandshakeContext:
        """The inner context for a handshake that begins now."""
        try:
            material = self._material()
            held = self._held
            if held is not None and held[0] == material:
                return held[1]
            fresh = self._build(material)
        except FinialError as error:
            # The handshake will say so, to whoever makes it: asyncio cannot be told at this point.
            return HandshakeContext(self.protocol, self.wrap_socket, refusal=error)
        self._held = material, fresh
        return fresh

    def _material(self) -> _Material:
        bundles = self._bundles
        if bundles is None:
            bundles = BundleSet()
        elif not isinstance(bundles, BundleSet):
            bundles = bundles.bundles
        settings = (
            self.options, self.minimum_version, self.maximum_version, tuple(self._alpn), self._ciphers,
            self.keylog_filename,
        )  # fmt: skip
        return _Material(None if self._svids is None else self._svids.svid, bundles, settings)

    def _build(self, material: _Material) -> HandshakeContext:
        fresh = HandshakeContext(self.protocol, self.wrap_socket, judge=self._judge)
        svid = material.svid
        try:
            bundles = material.bundles.values()
            harden(fresh, [root.der for bundle in bundles for root in bundle.x509_authorities])
            if svid is not None:
                load_identity(fresh, KeyPair(svid.chain_pem(), svid.key_pem()))
            fresh.options |= self.options
            fresh.minimum_version, fresh.maximum_version = self.minimum_version, self.maximum_version
            if self._ciphers is not None:
                fresh.set_ciphers(self._ciphers)
            if self._alpn:
                fresh.set_alpn_protocols(self._alpn)
            if self.keylog_filename is not None:
                fresh.keylog_filename = self.keylog_filename
        except (ssl.SSLError, OSError) as error:
            text = f"no TLS context can be made of the SVID and the bundles: {error}"
            raise FinialError(_IDENTITY, text) from error
        return fresh


def client_context(
    svids: SVIDSource | X509SVID,
    bundles: TrustSource | BundleSet,
    accept: Matcher,
    *,
    clock: Clock | None = None,
) -> ssl.SSLContext:
    """Mutual TLS for a client: shows its SVID, and talks only to a server that is proven and wanted.

        context = client_context(source, source, ExactID(SpiffeID("spiffe://example.org/db")))
        connection = http.client.HTTPSConnection("db.internal", context=context)

    Args:
        svids: What to show.
        bundles: What to verify the server with.
        accept: Which server is wanted.
        clock: Tells when chains have to be valid; the machine's by default.
    """
    judge = Judge(bundles, accept, clock or SystemClock())
    return FollowingContext(ssl.PROTOCOL_TLS_CLIENT, _source(svids), bundles, judge=judge)


def server_context(
    svids: SVIDSource | X509SVID,
    bundles: TrustSource | BundleSet,
    accept: Matcher,
    *,
    clock: Clock | None = None,
) -> ssl.SSLContext:
    """Mutual TLS for a server: shows its SVID, and serves only clients that are proven and wanted.

    Args:
        svids: What to show.
        bundles: What to verify clients with.
        accept: Which clients are wanted.
        clock: Tells when chains have to be valid; the machine's by default.
    """
    judge = Judge(bundles, accept, clock or SystemClock())
    return FollowingContext(ssl.PROTOCOL_TLS_SERVER, _source(svids), bundles, judge=judge)


def anonymous_client_context(
    bundles: TrustSource | BundleSet, accept: Matcher, *, clock: Clock | None = None
) -> ssl.SSLContext:
    """TLS for a client that shows nothing, and talks only to a server that is proven and wanted.

    Args:
        bundles: What to verify the server with; X509Bundles will do.
        accept: Which server is wanted.
        clock: Tells when chains have to be valid; the machine's by default.
    """
    judge = Judge(bundles, accept, clock or SystemClock())
    return FollowingContext(ssl.PROTOCOL_TLS_CLIENT, None, bundles, judge=judge)


def open_server_context(svids: SVIDSource | X509SVID) -> ssl.SSLContext:
    """TLS for a server that serves anybody: it shows its SVID and never asks who the client is.

    Args:
        svids: What to show.
    """
    return FollowingContext(ssl.PROTOCOL_TLS_SERVER, _source(svids), None, judge=None)


def peer_of(connection: object) -> VerifiedX509:
    """What the handshake of a connection proved about its peer.

    Args:
        connection: An SSLSocket or SSLObject, or whatever has asyncio's `get_extra_info`: a StreamWriter, a
            transport.

    Raises:
        FinialError: Its context was not made here, the handshake is not over, or it asked for no proof.
    """
    ask = getattr(connection, "get_extra_info", None)
    session = connection if ask is None else ask("ssl_object")
    verified = session.verified if isinstance(session, JudgedObject | JudgedSocket) else None
    if verified is None:
        raise FinialError(_NO_PEER, "the peer of this connection has proven no SPIFFE ID")
    return verified


def peer_id(connection: object) -> SpiffeID:
    """The SPIFFE ID of a connection's peer; takes and raises what `peer_of` does."""
    return peer_of(connection).id


def _source(svids: SVIDSource | X509SVID) -> SVIDSource:
    return _Fixed(svids) if isinstance(svids, X509SVID) else svids

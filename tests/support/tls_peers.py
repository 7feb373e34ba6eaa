"""Two ends of one TLS handshake, and sources for them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.x509svid import X509SVID
from finial.sdk import HandshakeRefusedError
from support import forge
from support.fake_workload import ROOT_A, ROOT_B, fresh_leaf, svid_of

BOTH = forge.bundles(a=ROOT_A, b=ROOT_B)
ONLY_A = forge.bundles(a=ROOT_A)
ONLY_B = forge.bundles(b=ROOT_B)
WEB = SpiffeID(forge.WEB)
DB = SpiffeID("spiffe://a.test/db")
FOREIGN = SpiffeID("spiffe://b.test/web")


@dataclass
class Changing:
    """A source whose contents a test swaps."""

    current: X509SVID | FinialError
    trust: BundleSet

    @property
    def svid(self) -> X509SVID:
        if isinstance(self.current, FinialError):
            raise self.current
        return self.current

    @property
    def bundles(self) -> BundleSet:
        return self.trust

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        return self.trust.bundle_for(trust_domain)


def web() -> X509SVID:
    return svid_of(fresh_leaf())


def db() -> X509SVID:
    return svid_of(fresh_leaf(uri=DB.text))


def foreign() -> X509SVID:
    return svid_of(fresh_leaf(ROOT_B, FOREIGN.text))


@dataclass
class Outcome:
    """What each side of one handshake got: its session, or its error."""

    server: ssl.SSLSocket | Exception
    client: ssl.SSLSocket | Exception


@contextlib.contextmanager
def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> Iterator[Outcome]:
    """A handshake over a socket pair, the server's side in a thread."""
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.settimeout(10)
    found: list[ssl.SSLSocket | Exception] = []

    def serve() -> None:
        found.append(wrapped(lambda: server.wrap_socket(theirs, server_side=True), theirs))

    thread = threading.Thread(target=serve)
    thread.start()
    mine = wrapped(lambda: client.wrap_socket(ours, server_hostname="whatever.test"), ours)
    thread.join()
    try:
        yield Outcome(found[0], mine)
    finally:
        for session in (found[0], mine):
            if isinstance(session, ssl.SSLSocket):
                session.close()


def wrapped(wrap: Callable[[], ssl.SSLSocket], sock: socket.socket) -> ssl.SSLSocket | Exception:
    try:
        return wrap()
    except (OSError, ValueError) as error:
        sock.close()
        return error


def refusal(side: object) -> str:
    assert isinstance(side, HandshakeRefusedError), side
    assert isinstance(side, ssl.SSLError)
    assert str(side) == str(side.error)
    return str(side)


def serve_one(context: ssl.SSLContext, sock: socket.socket) -> None:
    closed(wrapped(lambda: context.wrap_socket(sock, server_side=True), sock))


def closed(session: ssl.SSLSocket | Exception) -> None:
    if isinstance(session, ssl.SSLSocket):
        with contextlib.suppress(OSError):
            session.recv(1)
        session.close()

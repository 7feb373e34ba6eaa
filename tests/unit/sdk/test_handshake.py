"""Sessions that are not open until the peer is known."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.core.match import ANY_ID, ExactID
from finial.runtime.tls import KeyPair
from finial.runtime.tls import client_context as plain_client_context
from finial.sdk import HandshakeRefusedError, client_context, peer_id, server_context
from finial.sdk.handshake import JudgedSocket
from support import forge
from support.fake_workload import ROOT_A, TODAY, svid_of
from support.tls_peers import BOTH, DB, WEB, closed, db, refusal, serve_one, shaken, web, wrapped


def test_a_session_is_never_resumed() -> None:
    server = server_context(db(), BOTH, ANY_ID)
    pair = web()
    stock = plain_client_context([ROOT_A.der], KeyPair(pair.chain_pem(), pair.key_pem()))
    stock.maximum_version = ssl.TLSVersion.TLSv1_2
    with shaken(server, stock) as it:
        assert isinstance(it.client, ssl.SSLSocket)
        session = it.client.session
    ours, theirs = socket.socketpair()
    found: list[ssl.SSLSocket | Exception] = []
    thread = threading.Thread(
        target=lambda: found.append(wrapped(lambda: server.wrap_socket(theirs, server_side=True), theirs))
    )
    thread.start()
    again = stock.wrap_socket(ours, session=session)
    thread.join()
    assert again.session_reused is False
    again.close()
    closed(found[0])


def test_a_peer_that_resumes_all_the_same_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JudgedSocket, "session_reused", True)
    with shaken(server_context(db(), BOTH, ANY_ID), client_context(web(), BOTH, ANY_ID)) as it:
        assert refusal(it.server) == "the peer resumed an earlier session"


def test_a_judge_that_breaks_refuses() -> None:
    class Broken:
        def check(self, spiffe_id: SpiffeID) -> None:
            raise ZeroDivisionError

    with shaken(server_context(db(), BOTH, Broken()), client_context(web(), BOTH, ANY_ID)) as it:
        assert refusal(it.server) == "the peer's certificate could not be judged"


def test_what_only_openssl_refuses_is_refused_in_its_words() -> None:
    """A leaf that may only be a server's, shown by a client."""
    narrow = forge.leaf(
        ROOT_A,
        purposes=[ExtendedKeyUsageOID.SERVER_AUTH],
        not_before=TODAY - forge.DAY,
        not_after=TODAY + forge.DAY,
    )
    with shaken(server_context(db(), BOTH, ANY_ID), client_context(svid_of(narrow), BOTH, ANY_ID)) as it:
        assert "does not verify: unsuitable certificate purpose" in refusal(it.server)


def test_nothing_is_read_or_written_before_the_peer_is_known() -> None:
    """OpenSSL makes the handshake by itself in a read or a write: ours does not skip the judgement."""
    uses: tuple[Callable[[ssl.SSLSocket], object], ...] = (
        lambda sock: sock.send(b"x"),
        lambda sock: sock.sendall(b"x"),
        lambda sock: sock.write(b"x"),
        lambda sock: sock.read(1),
        lambda sock: sock.recv(1),
        lambda sock: sock.recv_into(bytearray(1)),
    )
    for use in uses:
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=serve_one, args=(server_context(db(), BOTH, ANY_ID), theirs))
        thread.start()
        client = client_context(web(), BOTH, ExactID(WEB))
        session = client.wrap_socket(ours, do_handshake_on_connect=False)
        for _ in range(2):
            with pytest.raises(HandshakeRefusedError, match="expected"):
                use(session)
        session.close()
        thread.join()


@pytest.mark.parametrize("use", ["read", "write", "handshake"])
def test_nothing_passes_memory_buffers_before_the_peer_is_known(use: str) -> None:
    client = client_context(web(), BOTH, ExactID(WEB))
    server = server_context(db(), BOTH, ANY_ID)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="whatever.test")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    act = {"read": lambda: ours.read(1), "write": lambda: ours.write(b"x"), "handshake": ours.do_handshake}
    for _ in range(2):
        with pytest.raises(ssl.SSLWantReadError):
            act[use]()
        with contextlib.suppress(ssl.SSLWantReadError):
            theirs.do_handshake()
        with contextlib.suppress(ssl.SSLWantReadError):
            break
    with pytest.raises(HandshakeRefusedError, match=f"the peer is {DB}"):
        act[use]()
    with pytest.raises(FinialError):
        peer_id(ours)

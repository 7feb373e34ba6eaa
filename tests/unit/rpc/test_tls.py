"""Mutual TLS between our own client and server, on both engines."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.match import ExactID
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_x509
from finial.rpc import Channel, ClientTLS, Limits, RpcError, Server, ServerTLS, StatusCode, Tcp
from finial.rpc.tls import TLSError, TLSSession
from finial.runtime.tls import KeyPair, client_context, server_context
from support.certs import NOW, Authority, Expect, client_tls, server_tls, uri_of
from support.rpc import CHAT, ECHO, ENGINES, Service, run

HOME = Authority("home.test")
AWAY = Authority("away.test")

both_engines = pytest.mark.parametrize("engine", ENGINES)


@dataclass
class Served:
    server: Server
    address: Tcp
    service: Service


@contextlib.asynccontextmanager
async def serving(engine: str, tls: ServerTLS, limits: Limits | None = None) -> AsyncIterator[Served]:
    service = Service()
    async with Server(service.routes(), engine=engine, limits=limits) as server:
        address = await server.listen(Tcp("127.0.0.1", 0), tls=tls)
        assert isinstance(address, Tcp)
        yield Served(server, address, service)


@both_engines
def test_each_side_knows_the_other(engine: str) -> None:
    async def main() -> None:
        async with serving(engine, server_tls(HOME)) as it:
            async with Channel(it.address, tls=client_tls(HOME), engine=engine) as channel:
                assert await channel.unary(ECHO, bytes(1_000_000)) == bytes(1_000_000)
                assert (await channel.connect()).identity == "spiffe://home.test/server"
            peer = it.service.calls[0].peer
            assert peer.identity == "spiffe://home.test/client"
            assert uri_of(peer.chain) == "spiffe://home.test/client"

    run(main())


@both_engines
def test_a_client_may_be_anonymous(engine: str) -> None:
    async def main() -> None:
        async with serving(engine, server_tls(HOME)) as it:
            async with Channel(it.address, tls=client_tls(HOME, path=None), engine=engine) as channel:
                assert await channel.unary(ECHO, b"x") == b"x"
            peer = it.service.calls[0].peer
            assert peer.identity is None
            assert peer.chain == ()

    run(main())


@both_engines
def test_a_client_with_the_wrong_name_is_refused_and_told(engine: str) -> None:
    async def main() -> None:
        async with serving(engine, server_tls(HOME)) as it:
            async with Channel(it.address, tls=client_tls(HOME, path="/other"), engine=engine) as channel:
                with pytest.raises(RpcError, match="wanted spiffe://home.test/client, got") as refused:
                    await channel.unary(ECHO, b"x")
                assert refused.value.code is StatusCode.UNAVAILABLE
            assert it.service.calls == []

    run(main())


@both_engines
def test_a_server_with_the_wrong_name_is_refused_before_anything_is_sent(engine: str) -> None:
    async def main() -> None:
        async with serving(engine, server_tls(HOME, path="/impostor")) as it:
            async with Channel(it.address, tls=client_tls(HOME), engine=engine) as channel:
                with pytest.raises(RpcError, match="got spiffe://home.test/impostor"):
                    await channel.unary(ECHO, b"x")
            assert it.service.calls == []

    run(main())


@both_engines
def test_a_foreign_peer_is_named_although_openssl_refused_it(engine: str) -> None:
    async def main() -> None:
        tls = server_tls(HOME)
        async with serving(engine, tls) as it:
            context = client_context([HOME.der], AWAY.leaf("/client"))
            foreign = ClientTLS(lambda: context, Expect("spiffe://home.test/server"))
            async with Channel(it.address, tls=foreign, engine=engine) as channel:
                with pytest.raises(RpcError, match="cannot connect"):
                    await channel.unary(ECHO, b"x")
            assert isinstance(tls.verify, Expect)
            assert tls.verify.seen == ["spiffe://away.test/client"]
            async with Channel(it.address, tls=client_tls(AWAY), engine=engine) as channel:
                with pytest.raises(RpcError, match="got spiffe://home.test/server"):
                    await channel.unary(ECHO, b"x")

    run(main())


def _bundles(*authorities: Authority) -> BundleSet:
    return BundleSet(
        Bundle(trust_domain=TrustDomain(each.domain), x509_authorities=(Certificate.parse(each.der),))
        for each in authorities
    )


@both_engines
def test_core_decides_who_the_peer_is(engine: str) -> None:
    """OpenSSL holds the roots of both domains; core holds each domain to its own."""

    async def main() -> None:
        context = server_context(HOME.leaf("/server"), [HOME.der, AWAY.der])
        federated = _bundles(HOME, AWAY)
        tls = ServerTLS(lambda: context, lambda chain: verify_x509(chain, federated, now=NOW).id)
        async with serving(engine, tls) as it:

            async def call(identity: KeyPair) -> object:
                client = client_context([HOME.der], identity)
                server = ClientTLS(
                    lambda: client,
                    lambda chain: verify_x509(
                        chain, federated, now=NOW, accept=ExactID(SpiffeID("spiffe://home.test/server"))
                    ),
                )
                async with Channel(it.address, tls=server, engine=engine) as channel:
                    await channel.unary(ECHO, b"x")
                return it.service.calls[-1].peer.identity

            assert await call(HOME.leaf("/client")) == SpiffeID("spiffe://home.test/client")
            assert await call(AWAY.leaf("/client")) == SpiffeID("spiffe://away.test/client")
            with pytest.raises(RpcError, match="no authority of trust domain home.test is its issuer"):
                await call(AWAY.leaf("/client", domain="home.test"))

    run(main())


@both_engines
def test_a_peer_of_a_domain_without_federation_is_told_so(engine: str) -> None:
    async def main() -> None:
        alone = _bundles(HOME)
        context = server_context(HOME.leaf("/server"), [HOME.der, AWAY.der])
        tls = ServerTLS(lambda: context, lambda chain: verify_x509(chain, alone, now=NOW).id)
        async with serving(engine, tls) as it:
            context_of_client = client_context([HOME.der], AWAY.leaf("/client"))
            foreign = ClientTLS(lambda: context_of_client, Expect("spiffe://home.test/server"))
            async with Channel(it.address, tls=foreign, engine=engine) as channel:
                with pytest.raises(RpcError, match="there is no federation with trust domain away.test"):
                    await channel.unary(ECHO, b"x")

    run(main())


@both_engines
def test_a_verifier_that_accepts_does_not_overrule_openssl(engine: str) -> None:
    async def main() -> None:
        context = server_context(HOME.leaf("/server"), [HOME.der])
        async with serving(engine, ServerTLS(lambda: context, lambda chain: "anyone")) as it:
            foreign = client_context([HOME.der], AWAY.leaf("/client"))
            tls = ClientTLS(lambda: foreign, lambda chain: "server")
            async with Channel(it.address, tls=tls, engine=engine) as channel:
                with pytest.raises(RpcError, match="cannot connect"):
                    await channel.unary(ECHO, b"x")
            trusting_nobody = client_context([AWAY.der], HOME.leaf("/client"))
            tls = ClientTLS(lambda: trusting_nobody, lambda chain: "server")
            async with Channel(it.address, tls=tls, engine=engine) as channel:
                with pytest.raises(RpcError, match="the peer's certificate does not verify"):
                    await channel.unary(ECHO, b"x")
            assert it.service.calls == []

    run(main())


@both_engines
def test_an_insecure_client_still_asks_its_verifier(engine: str) -> None:
    async def main() -> None:
        async with serving(engine, server_tls(HOME)) as it:
            context = client_context([], insecure=True)
            tls = ClientTLS(lambda: context, Expect("spiffe://home.test/server"))
            async with Channel(it.address, tls=tls, engine=engine) as channel:
                assert await channel.unary(ECHO, b"x") == b"x"

    run(main())


@both_engines
def test_certificates_and_roots_change_while_connections_live(engine: str) -> None:
    async def main() -> None:
        current = [server_context(HOME.leaf("/server"), [HOME.der])]
        tls = ServerTLS(lambda: current[0], uri_of)
        async with (
            serving(engine, tls) as it,
            Channel(it.address, tls=client_tls(HOME), engine=engine) as old,
            old.call(CHAT) as call,
        ):
            await call.send(b"1")
            assert await call.receive() == b"1"
            current[0] = server_context(AWAY.leaf("/server"), [AWAY.der])
            async with Channel(it.address, tls=client_tls(AWAY), engine=engine) as new:
                assert await new.unary(ECHO, b"x") == b"x"
            async with Channel(it.address, tls=client_tls(HOME), engine=engine) as late:
                with pytest.raises(RpcError, match="cannot connect"):
                    await late.unary(ECHO, b"x")
            await call.send(b"2")
            assert await call.receive() == b"2"

    run(main())


@both_engines
def test_a_peer_that_does_not_finish_its_handshake_is_dropped(engine: str) -> None:
    async def main() -> None:
        limits = Limits(handshake_timeout=timedelta(milliseconds=50), max_handshakes=2)
        async with serving(engine, server_tls(HOME), limits) as it:
            silent = [await asyncio.open_connection(it.address.host, it.address.port) for _ in range(3)]
            for reader, writer in silent:
                assert await reader.read() == b""
                writer.close()
            async with Channel(it.address, tls=client_tls(HOME), engine=engine) as channel:
                assert await channel.unary(ECHO, b"x") == b"x"

    run(main())


@both_engines
def test_what_is_not_tls_is_dropped(engine: str) -> None:
    async def main() -> None:
        async with serving(engine, server_tls(HOME)) as it:
            reader, writer = await asyncio.open_connection(it.address.host, it.address.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.read()
            writer.close()
            assert it.service.calls == []

    run(main())


def test_a_client_without_alpn_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = _Plain(context)
    server = TLSSession(server_tls(HOME))
    with pytest.raises(TLSError, match="did not agree on HTTP/2"):
        client.shake_hands_with(server)


def test_a_resumed_session_is_refused() -> None:
    """TLS 1.2 lets a client come back by session id, past the check of its certificate."""
    context = client_context([HOME.der], HOME.leaf("/client"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = server_tls(HOME)
    first = _Plain(context)
    served = TLSSession(tls)
    first.shake_hands_with(served)
    # OpenSSL forgets sessions that were not closed in good order.
    with contextlib.suppress(ssl.SSLWantReadError):
        first.object.unwrap()
    served.feed(first.outgoing.read())
    served.read()
    served.say_goodbye()
    second = _Plain(context, first.object.session)
    with pytest.raises(TLSError, match="resumed an earlier session"):
        second.shake_hands_with(TLSSession(tls))


def test_no_tickets_are_given_out() -> None:
    context = client_context([HOME.der], HOME.leaf("/client"))
    client = _Plain(context)
    client.shake_hands_with(TLSSession(server_tls(HOME)))
    assert client.object.version() == "TLSv1.3"
    assert client.object.session is None or not client.object.session.has_ticket


def test_garbage_after_the_handshake_ends_the_session() -> None:
    server = TLSSession(server_tls(HOME))
    client = _Plain(client_context([HOME.der], HOME.leaf("/client")))
    client.shake_hands_with(server)
    client.object.write(b"hello")
    server.feed(client.outgoing.read())
    assert server.read() == b"hello"
    server.feed(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(TLSError, match="TLS failed"):
        server.read()


def test_goodbyes() -> None:
    server = TLSSession(server_tls(HOME))
    server.say_goodbye()
    client = _Plain(client_context([HOME.der], HOME.leaf("/client")))
    client.shake_hands_with(server)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.object.unwrap()
    server.feed(client.outgoing.read())
    assert server.read() == b""
    server.say_goodbye()
    assert server.outgoing()


def test_keys_do_not_show_themselves() -> None:
    assert "PRIVATE" not in repr(KeyPair(b"chain", b"-----BEGIN PRIVATE KEY-----"))


def test_a_chain_that_does_not_fit_its_key_is_an_error() -> None:
    mixed = replace(HOME.leaf("/a"), key_pem=HOME.leaf("/b").key_pem)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        server_context(mixed, [HOME.der])


class _Plain:
    """OpenSSL's client without the rest, to be bent where ours will not bend."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, session=session)

    def shake_hands_with(self, server: TLSSession) -> None:
        done = False
        for _ in range(10):
            if not done:
                with contextlib.suppress(ssl.SSLWantReadError):
                    self.object.do_handshake()
                    done = True
            server.feed(self.outgoing.read())
            if not server.ready:
                server.handshake()
            self.incoming.write(server.outgoing())
            if done and server.ready:
                return
        raise AssertionError("the handshake does not end")

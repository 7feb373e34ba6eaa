"""What stands around an agent: the first contact and descriptors."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import AsyncExitStack

import pytest

from finial.agent import descriptors
from finial.agent.link import FirstContact
from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import LOCAL, Channel, ClientTLS, RpcError, Server, ServerTLS, StatusCode, Tcp, unary
from finial.runtime.tls import client_context, server_context
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.agent_world import ids, joined, stream, world
from support.certs import Authority
from support.clock import settle
from support.fake_server import EXAMPLE
from support.rpc import run

ME = f"unix:uid:{os.getuid()}"
Reply = entry_pb.SyncAuthorizedEntriesResponse
NOTHING = Reason("test-nothing", Kind.UNAVAILABLE)


def test_a_first_contact_refuses_who_names_no_spiffe_id() -> None:
    contact = FirstContact(Tcp("127.0.0.1", 1), EXAMPLE)
    with pytest.raises(FinialError, match="names no SPIFFE ID"):
        contact._verify(())
    assert contact.refusal is not None
    assert "is not spiffe://example.org/spire/server" in contact.refusal.message


def test_a_first_contact_takes_any_chain_of_that_name() -> None:
    async def main() -> None:
        somebody = Authority("example.org")
        context = server_context(somebody.leaf("/spire/server"), [])
        sent = types.Bundle(trust_domain="example.org")
        routes = [unary(bundle_pb.Bundle.GetBundle, lambda request, call: sent)]
        async with Server(routes) as server:
            tls = ServerTLS(lambda: context, lambda chain: None)
            address = await server.listen(Tcp("127.0.0.1", 0), tls=tls)
            assert isinstance(address, Tcp)
            contact = FirstContact(address, EXAMPLE)
            async with contact.channel() as channel:
                await channel.connect()
            assert contact.refusal is None
            wrong = ClientTLS(lambda: client_context([]), contact._verify)
            async with Channel(address, tls=wrong) as channel:
                with pytest.raises(RpcError):
                    await channel.connect()

    run(main())


def test_the_descriptor_limit_is_raised_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1_024, 4_096)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.append(pair))
    assert descriptors.raise_limit() == 4_096
    assert descriptors.raise_limit() == 4_096
    assert len(limits) == 2

    def refused(which: int, pair: tuple[int, int]) -> None:
        raise ValueError

    limits.append((1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", refused)
    assert descriptors.raise_limit() == 1_024
    assert descriptors.callers_for(1_024) == 298
    assert descriptors.callers_for(0) == 8


def test_callers_beyond_the_descriptors_are_turned_away_and_others_served() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w, limits_max_connections=1) as running, stream(w, running) as caller:
                await caller.next()
                async with Channel(running.socket) as late:
                    with pytest.raises(RpcError) as caught:
                        await late.connect()
                    assert caught.value.code is StatusCode.UNAVAILABLE
                w.server.add("e1", "/web", ME, hint="h")
                assert (await caller.next()).svids[0].hint == "h"

    run(main())


def test_callers_that_stay_silent_keep_nobody_out() -> None:
    async def main() -> None:
        async with world() as w, AsyncExitStack() as stack:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running:
                for _ in range(LOCAL.max_handshakes):
                    silent = stack.enter_context(socket.socket(socket.AF_UNIX))
                    silent.setblocking(False)
                    silent.connect(running.socket.path)
                    await settle()
                async with stream(w, running) as caller:
                    assert ids(await caller.next()) == ["/web"]

    run(main())

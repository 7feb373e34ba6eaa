"""What the Workload API sends of the X.509 profile, and when."""

from __future__ import annotations

import asyncio
import importlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from finial.core.selectors import Selector
from finial.core.x509cert import parse_concatenated
from finial.core.x509svid import X509SVID
from finial.rpc import Channel, StatusCode
from finial.wire.gen import workload as pb
from support.agent_world import HEADER, ME, Agent, World, agent, ids, joined, on_agent, stream, world
from support.clock import settle
from support.rpc import run
from support.workload_desk import SVIDS, desk

# By name, since the package brings no types.
grpc = importlib.import_module("grpc")

BUNDLES = pb.SpiffeWorkloadAPI.FetchX509Bundles


@pytest.mark.spec("WAPI-10", "WAPI-11", "WAPI-20")
@on_agent
async def test_each_message_is_complete_and_comes_when_something_changes(w: World, running: Agent) -> None:
    async with stream(w, running) as caller, stream(w, running, BUNDLES) as bundles:
        await caller.next()
        await bundles.next()
        await caller.quiet()
        b = w.server.federate("b.test")
        w.server.add("e1", "/web", ME, federates_with=["b.test"])
        w.server.add("e2", "/db", ME, created_at=2_000)
        message = await caller.next()
        while len(message.svids) < 2:
            message = await caller.next()
        assert message.federated_bundles["spiffe://b.test"] == b.x509_authorities[0].der
        c = w.server.federate("c.test")
        w.server.add("e1", "/web", ME, federates_with=["b.test", "c.test"])
        message = await caller.next()
        assert ids(message) == ["/web", "/db"]
        assert dict(message.federated_bundles) == {
            "spiffe://b.test": b.x509_authorities[0].der,
            "spiffe://c.test": c.x509_authorities[0].der,
        }
        seen = await bundles.next()
        while len(seen.bundles) < 3:
            seen = await bundles.next()


@pytest.mark.spec("WAPI-12", "WAPI-13")
def test_each_request_is_answered_at_once() -> None:
    async def main() -> None:
        async with desk() as d, Channel(d.socket) as channel:
            for _ in range(2):  # the second one on the same connection
                for method in (SVIDS, BUNDLES):
                    async with d.stream(method, channel=channel) as caller:
                        assert await caller.call.receive() is not None  # while the clock stands still

    run(main())


@pytest.mark.spec("WAPI-14")
def test_updates_are_merged_and_spread_over_a_bounded_while() -> None:
    async def main() -> None:
        async with desk() as d, Channel(d.socket) as channel:
            calls = []
            for _ in range(40):
                call = await d.stack.enter_async_context(d.stream(channel=channel))
                await call.next()
                calls.append(call)
            d.enter(d.entry(hint="at once"))
            assert {(await each.next_at_once()).svids[0].hint for each in calls} == {"at once"}
            for number in range(5):
                d.enter(d.entry(hint=f"h{number}"))
            await settle()
            receiving = [asyncio.ensure_future(each.call.receive()) for each in calls]
            await settle()
            assert not any(each.done() for each in receiving)  # nobody is sent each of the changes
            await d.clock.advance(timedelta(seconds=0.02))
            messages = await asyncio.gather(*receiving)
            assert {message.svids[0].hint for message in messages if message is not None} == {"h4"}
            again = asyncio.ensure_future(calls[0].call.receive())
            await d.clock.advance(timedelta(seconds=5))
            assert not again.done()
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)

    run(main())


@pytest.mark.spec("WAPI-24")
@on_agent
async def test_unknown_fields_of_a_request_are_ignored(w: World, running: Agent) -> None:
    async with grpc.aio.insecure_channel(f"unix:{running.socket.path}") as channel:
        for path, kind in (
            ("/SpiffeWorkloadAPI/FetchX509SVID", pb.X509SVIDResponse),
            ("/SpiffeWorkloadAPI/FetchX509Bundles", pb.X509BundlesResponse),
        ):
            call = channel.unary_stream(path, response_deserializer=kind.FromString)(
                b"\x0a\x03abc\x78\x05", metadata=HEADER
            )
            assert (await call.read()).ListFields()
            call.cancel()


@pytest.mark.spec("WAPI-25", "WAPI-26", "WAPI-27", "WAPI-28", "WAPI-29")
@on_agent
async def test_what_is_in_an_svid(w: World, running: Agent) -> None:
    w.server.add("e2", "/db", ME, created_at=2_000)
    async with stream(w, running) as caller:
        message = await caller.next()
        while len(message.svids) < 2:
            message = await caller.next()
        assert not message.crl
        assert not message.federated_bundles
        for each in message.svids:
            assert not each.hint
            svid = X509SVID.from_der(each.x509_svid, each.x509_svid_key)  # refuses a key of another leaf
            assert svid.id.text == each.spiffe_id == svid.leaf.names.uris[0]
            load_der_private_key(each.x509_svid_key, None)
            assert each.x509_svid_key[:1] == b"\x30"
            assert b"-----BEGIN" not in each.x509_svid + each.x509_svid_key + each.bundle
            roots = parse_concatenated(each.bundle)
            assert roots
            assert not set(roots) & set(svid.certificates)


@pytest.mark.spec("WAPI-30", "WAPI-37")
@on_agent
async def test_bundles_are_named_by_their_trust_domains_ids(w: World, running: Agent) -> None:
    w.server.federate("b.test")
    w.server.foreign["none.test"] = w.server.foreign["b.test"].__class__(trust_domain="none.test")
    w.server.prepare()
    w.server.add("e1", "/web", ME, federates_with=["b.test", "none.test"])
    async with stream(w, running, BUNDLES) as caller:
        message = await caller.next()
        while len(message.bundles) < 3:
            assert "spiffe://example.org" in message.bundles
            message = await caller.next()
        assert set(message.bundles) == {"spiffe://example.org", "spiffe://b.test", "spiffe://none.test"}
        assert len(parse_concatenated(message.bundles["spiffe://example.org"])) == 2
        assert message.bundles["spiffe://none.test"] == b""  # no X.509 authority, and it is said


@pytest.mark.spec("WAPI-31")
def test_a_hint_stands_once_in_a_message_with_the_older_entry() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("b", "/young", ME, hint="main", created_at=2_000)
            w.server.add("c", "/old", ME, hint="main", created_at=1_000)
            w.server.add("a", "/twin", ME, hint="twin", created_at=3_000)
            w.server.add("d", "/younger-twin", ME, hint="twin", created_at=3_000)
            w.server.add("e", "/plain", ME, created_at=4_000)
            w.server.add("f", "/plain-too", ME, created_at=5_000)
            async with joined(w) as running, stream(w, running) as caller:
                message = await caller.next()
                assert ids(message) == ["/old", "/twin", "/plain", "/plain-too"]
                assert [each.hint for each in message.svids] == ["main", "twin", "", ""]

    run(main())


@pytest.mark.spec("WAPI-33", "WAPI-38")
@on_agent
async def test_an_open_stream_ends_when_the_last_entry_goes(w: World, running: Agent) -> None:
    async with stream(w, running) as caller, stream(w, running, BUNDLES) as bundles:
        await caller.next()
        await bundles.next()
        w.server.entries.clear()
        for each in (caller, bundles):
            assert (await each.end()).code is StatusCode.PERMISSION_DENIED


@pytest.mark.spec("WAPI-68")
def test_the_order_is_by_age_and_the_same_each_time() -> None:
    async def main() -> None:
        async with world() as w:
            for name, created_at in (("m", 3_000), ("z", 1_000), ("a", 2_000), ("b", 2_000)):
                w.server.add(name, f"/{name}", ME, created_at=created_at)
            expected = ["/z", "/a", "/b", "/m"]
            async with joined(w) as running:
                for _ in range(2):
                    async with stream(w, running) as caller:
                        assert ids(await caller.next()) == expected
            w.server.entries = dict(reversed(w.server.entries.items()))  # the server's order is no order
            async with agent(w) as running:
                await running.synced()
                async with stream(w, running) as caller:
                    assert ids(await caller.next()) == expected

    run(main())


@pytest.mark.spec("WAPI-70")
def test_hints_above_1024_bytes_are_not_supported() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("a", "/long", ME, hint="é" * 512)
            w.server.add("b", "/too-long", ME, hint="é" * 512 + "x")
            async with joined(w) as running, stream(w, running) as caller:
                assert ids(await caller.next()) == ["/long"]

    run(main())


@pytest.mark.spec("WAPI-72")
def test_entitlement_is_judged_again_before_each_message() -> None:
    async def main() -> None:
        async with desk() as d:
            async with d.stream() as caller:
                await caller.next()
                d.enter(d.entry(hint="at once"))
                await caller.next_at_once()
                d.enter(d.entry(hint="pending"))
                await settle()  # a further update is on its way ...
                d.cache.apply(d.cache.book.replace_entries(()))  # ... and now there is no entry
                error = await d.end_of(caller)
                assert error.code is StatusCode.PERMISSION_DENIED
            d.enter(d.entry())
            async with d.stream() as caller:
                await caller.next()
                d.attestor.answer = (Selector("test", "somebody else"),)  # exec, or another user
                d.enter(d.entry(hint="news"))
                error = await d.end_of(caller)
                assert error.code is StatusCode.PERMISSION_DENIED

    run(main())

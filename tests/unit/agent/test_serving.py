"""What workloads are told, from an entry at the server to a message on an open stream."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.bundle import BundleSet
from finial.core.errors import Kind, Reason
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.core.x509path import verify_x509
from finial.plugin.workload import WorkloadProcess
from finial.plugins.workload.unix import UnixAttestor, UnixAttestorError
from finial.rpc import Channel, StatusCode
from finial.wire.gen import grpc_health_v1 as health_pb
from finial.wire.gen import workload as pb
from support.agent_world import STEP, agent, ids, joined, stream, svids, world
from support.clock import settle
from support.rpc import run

ME = f"unix:uid:{os.getuid()}"
BUNDLES = pb.SpiffeWorkloadAPI.FetchX509Bundles


def test_a_workload_gets_an_svid_that_verifies_and_its_key() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                message = await caller.next()
                (svid,) = svids(message)
                verified = verify_x509(svid.chain_der(), BundleSet([w.server.bundle]), now=w.clock.now())
                assert verified.id == SpiffeID("spiffe://example.org/web")
                assert message.svids[0].bundle == w.server.active.certificate.der
                assert not message.crl
                assert not message.federated_bundles
                await caller.quiet()

    run(main())


def test_nobody_else_gets_it() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", "unix:uid:4242")
            w.server.add("e2", "/stored", ME, store_svid=True)
            async with joined(w) as running:
                for method in (None, BUNDLES):
                    async with stream(w, running, method) as caller:
                        error = await caller.end()
                        assert (error.code, error.message) == (
                            StatusCode.PERMISSION_DENIED,
                            "no identity issued",
                        )

    run(main())


def test_entries_come_change_and_go_on_an_open_stream() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                first = await caller.next()
                w.server.add("e2", "/db", ME, created_at=2_000)
                both = await caller.next()
                assert ids(both) == ["/web", "/db"]
                assert both.svids[0] == first.svids[0]
                w.server.add("e1", "/web", ME, hint="front")
                w.server.dns_names["e1"] = ("web.example.org",)
                renewed = await caller.next()
                while not svids(renewed)[0].leaf.names.dns:  # the hint may come before the new certificate
                    renewed = await caller.next()
                assert [each.hint for each in renewed.svids] == ["front", ""]
                assert renewed.svids[0].x509_svid_key != first.svids[0].x509_svid_key
                del w.server.entries["e1"]
                assert ids(await caller.next()) == ["/db"]
                del w.server.entries["e2"]
                error = await caller.end()
                assert (error.code, error.message) == (StatusCode.PERMISSION_DENIED, "no identity issued")

    run(main())


def test_an_entry_with_another_id_takes_the_old_identity_away_first() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/old", ME)
            w.server.add("e2", "/other", ME, created_at=3_000)
            async with joined(w) as running, stream(w, running) as caller:
                assert ids(await caller.next()) == ["/old", "/other"]
                w.server.unsigned.add("e1")
                w.server.add("e1", "/new", ME)
                assert ids(await caller.next()) == ["/other"]
                w.server.unsigned.clear()
                assert ids(await caller.next()) == ["/new", "/other"]

    run(main())


def test_selectors_that_no_longer_fit_take_the_identity() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                w.server.add("e1", "/web", ME, "unix:uid:4242")
                assert (await caller.end()).code is StatusCode.PERMISSION_DENIED

    run(main())


def test_svids_are_renewed_with_a_new_key_in_time() -> None:
    async def main() -> None:
        async with world(svid_ttl=timedelta(minutes=1)) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                before = svids(await caller.next())[0]
                for _ in range(4):
                    after = svids(await caller.next())[0]
                    left = before.expires_at - w.clock.now()
                    assert timedelta(seconds=20) < left < timedelta(seconds=40)
                    assert after.key_der() != before.key_der()
                    before = after

    run(main())


def test_foreign_bundles_go_to_those_whose_entries_name_them() -> None:
    async def main() -> None:
        async with world() as w:
            b, _ = w.server.federate("b.test"), w.server.federate("c.test")
            w.server.add("e1", "/web", ME, federates_with=["b.test", "none.test"])
            w.server.add("e2", "/db", "unix:uid:4242", federates_with=["c.test"])
            async with joined(w) as running, stream(w, running) as caller:
                message = await caller.next()
                assert dict(message.federated_bundles) == {"spiffe://b.test": b.x509_authorities[0].der}
                async with stream(w, running, BUNDLES) as other:
                    bundles = await other.next()
                    assert dict(bundles.bundles) == {
                        "spiffe://example.org": w.server.active.certificate.der,
                        "spiffe://b.test": b.x509_authorities[0].der,
                    }
                    fresh = w.server.federate("b.test")
                    for each in (caller, other):
                        message = await each.next()
                        found = getattr(message, "federated_bundles", None) or message.bundles
                        assert found["spiffe://b.test"] == fresh.x509_authorities[0].der
                    w.server.federate("c.test")
                    await caller.quiet()
                    del w.server.foreign["b.test"]
                    assert not (await caller.next()).federated_bundles
                    assert list((await other.next()).bundles) == ["spiffe://example.org"]

    run(main())


def test_a_new_authority_is_told_before_it_signs_and_a_revoked_one_goes() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                fresh = w.server.prepare()
                message = await caller.next()
                old = w.server.active
                assert message.svids[0].bundle == old.certificate.der + fresh.certificate.der
                w.server.active = fresh
                w.server.taint(old)
                rotated = await caller.next()
                svid = svids(rotated)[0]
                assert svid.leaf.issuer == fresh.certificate.subject
                w.server.revoke(old)
                last = await caller.next()
                assert last.svids[0].bundle == fresh.certificate.der
                assert svids(last)[0] == svid
                assert not running.ended

    run(main())


def test_no_svid_is_served_that_the_bundle_of_its_message_does_not_prove() -> None:
    async def main() -> None:
        async with world(svid_ttl=timedelta(minutes=1)) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                # The server signs with an authority that it has told nobody of.
                hidden = w.server.new_authority()
                shown, w.server.active = w.server.active, hidden
                batches = len(w.server.batches)
                await w.eventually(lambda: len(w.server.batches) > batches)
                for _ in range(20):
                    await w.tick()
                w.server.published.append(hidden)
                w.server.sequence += 1
                message = await caller.next()
                while svids(message)[0].leaf.issuer != hidden.certificate.subject:
                    message = await caller.next()  # which verifies each SVID under the bundle beside it
                assert hidden.certificate.der in message.svids[0].bundle
                assert shown.certificate.der in message.svids[0].bundle

    run(main())


def test_while_the_server_is_away_each_svid_is_served_to_its_end_and_not_beyond() -> None:
    async def main() -> None:
        async with world(svid_ttl=timedelta(minutes=2)) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                svid = svids(await caller.next())[0]
                await w.server.stop()
                async with stream(w, running) as late:
                    assert svids(await late.next()) == [svid]
                error = await caller.end()
                assert error.code is StatusCode.UNAVAILABLE
                assert "no valid SVID" in error.message
                assert svid.expires_at <= w.clock.now() < svid.expires_at + 4 * STEP
                async with stream(w, running) as late:
                    assert (await late.end()).code is StatusCode.UNAVAILABLE
                    # Its bundles are good all the same.
                async with stream(w, running, BUNDLES) as late:
                    assert (await late.next()).bundles
                await w.server.start()
                signed = len(w.server.batches)
                await w.eventually(lambda: len(w.server.batches) > signed)
                async with stream(w, running) as back:
                    assert ids(await back.next()) == ["/web"]

    run(main())


def test_one_svid_ends_and_the_other_goes_on() -> None:
    async def main() -> None:
        async with world(svid_ttl=timedelta(minutes=1)) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                w.server.unsigned.add("e1")
                w.server.svid_ttl = timedelta(hours=1)
                w.server.add("e2", "/db", ME, created_at=2_000)
                assert ids(await caller.next()) == ["/web", "/db"]
                assert ids(await caller.next()) == ["/db"]

    run(main())


def test_order_and_hints() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("b", "/second", ME, created_at=2_000, hint="main")
            w.server.add("a", "/third", ME, created_at=2_000)
            w.server.add("z", "/first", ME, created_at=1_000)
            w.server.add("c", "/hidden", ME, created_at=3_000, hint="main")
            async with joined(w) as running, stream(w, running) as caller:
                assert ids(await caller.next()) == ["/first", "/third", "/second"]
                w.server.add("b", "/second", ME, hint="other")
                shown = await caller.next()
                while len(shown.svids) < 4:
                    shown = await caller.next()
                assert ids(shown) == ["/first", "/third", "/second", "/hidden"]
                assert [each.hint for each in shown.svids] == ["", "", "other", "main"]

    run(main())


def test_a_slow_reader_holds_up_only_itself() -> None:
    async def main() -> None:
        async with world() as w:
            names = [f"very-long-name-{number:04}.example.org" for number in range(400)]
            w.server.dns_names["e1"] = tuple(names)
            w.server.add("e1", "/web", ME)
            async with (
                joined(w) as running,
                Channel(running.socket) as slow,
                stream(w, running, channel=slow) as stuck,
                stream(w, running) as caller,
            ):
                await caller.next()
                for number in range(30):  # far more than the windows of the one that does not read
                    w.server.add("e1", "/web", ME, hint=f"h{number}")
                    message = await caller.next()
                    while message.svids[0].hint != f"h{number}":
                        message = await caller.next()
                async with stream(w, running) as third:
                    assert (await third.next()).svids[0].hint == "h29"
                seen = [await stuck.next()]
                while seen[-1].svids[0].hint != "h29":
                    seen.append(await stuck.next())
                assert len(seen) < 25  # what was not read was not queued, but left out

    run(main())


def test_health_says_when_workloads_are_answered() -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w):
                pass
            await w.server.stop()
            async with agent(w) as running, Channel(running.socket) as channel:
                await running.ready()
                request = health_pb.HealthCheckRequest()
                reply = await channel.unary(health_pb.Health.Check, request)
                assert reply.status == health_pb.HealthCheckResponse.NOT_SERVING
                await w.server.start()
                await running.synced()
                await settle()
                reply = await channel.unary(health_pb.Health.Check, request)
                assert reply.status == health_pb.HealthCheckResponse.SERVING

    run(main())


def test_streams_end_when_the_agent_stops() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                stopping = asyncio.ensure_future(running.stop())
                assert (await caller.end()).code is StatusCode.UNAVAILABLE
                await stopping

    run(main())


def test_many_calls_on_one_connection_leave_no_descriptors_behind() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, Channel(running.socket) as channel:
                counts = []
                for _ in range(20):
                    async with stream(w, running, channel=channel) as caller:
                        await caller.next()
                    await settle()
                    counts.append(len(list(Path("/proc/self/fd").iterdir())))
                assert max(counts) == counts[0]

    run(main())


def test_a_caller_that_cannot_be_attested_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()

                async def fails(self: UnixAttestor, process: WorkloadProcess) -> tuple[Selector, ...]:
                    raise UnixAttestorError(Reason("test", Kind.UNAVAILABLE), "no idea")

                monkeypatch.setattr(UnixAttestor, "attest", fails)
                async with stream(w, running) as other:
                    error = await other.end()
                    assert error.code is StatusCode.UNAVAILABLE
                    assert error.message == "workload attestation failed"
                w.server.add("e1", "/web", ME, hint="h")  # an open stream is attested before each push
                assert (await caller.end()).message == "workload attestation failed"

    run(main())


def test_after_a_failed_attestation_the_caller_has_to_connect_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[WorkloadProcess] = []
    real = UnixAttestor.attest

    async def fails_first(self: UnixAttestor, process: WorkloadProcess) -> tuple[Selector, ...]:
        seen.append(process)
        if len(seen) == 1:
            raise UnixAttestorError(Reason("test", Kind.UNAVAILABLE), "another user")
        return await real(self, process)

    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, Channel(running.socket) as channel:
                connections = [await channel._connection()]
                monkeypatch.setattr(UnixAttestor, "attest", fails_first)
                async with stream(w, running, channel=channel) as refused:
                    assert (await refused.end()).code is StatusCode.UNAVAILABLE
                async with stream(w, running, channel=channel) as caller:
                    assert ids(await caller.next()) == ["/web"]
                connections.append(await channel._connection())
                assert connections[0] is not connections[1]

    run(main())

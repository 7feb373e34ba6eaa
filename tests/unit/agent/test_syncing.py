"""What an agent asks of its server, how often, and what it makes of the answers."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from finial.agent.disk import Disk
from finial.agent.fetch import EntryFetcher
from finial.core.bundle import Bundle
from finial.core.x509cert import Certificate
from finial.rpc import Channel, RpcError, StatusCode
from finial.wire.gen import workload as pb
from finial.wire.statuses import Denial, denied
from support.agent_world import ids, joined, stream, world
from support.certs import beyond_openssl
from support.fake_server import EXAMPLE
from support.rpc import run

ME = f"unix:uid:{os.getuid()}"
BUNDLES = pb.SpiffeWorkloadAPI.FetchX509Bundles


def test_twelve_hundred_entries_are_synced_by_revision_and_signed_in_batches() -> None:
    async def main() -> None:
        async with world() as w:
            for number in range(1_200):
                w.server.add(f"e{number}", f"/w/{number}", f"unix:uid:{number + 10_000}")
            w.server.add("mine", "/web", ME)
            async with joined(w) as running:
                assert w.server.calls["ids"] == 1_201
                await w.eventually(lambda: sum(w.server.batches) == 1_201)
                assert max(w.server.batches) == 500
                async with stream(w, running) as caller:
                    await caller.next()
                    w.server.add("mine", "/web", ME, hint="h")
                    del w.server.entries["e7"]
                    assert (await caller.next()).svids[0].hint == "h"
                    assert w.server.calls["ids"] == 1_202
                    await w.eventually(lambda: sum(w.server.batches) == 1_202)

    run(main())


def test_exactly_a_page_and_one_more() -> None:
    async def main() -> None:
        async with world(page=10) as w:
            for number in range(10):
                w.server.add(f"e{number}", f"/{number}", ME, created_at=1_000 + number)
            async with joined(w) as running, stream(w, running) as caller:
                assert len((await caller.next()).svids) == 10
                assert w.server.calls["ids"] == 0
                w.server.add("e10", "/10", ME, created_at=2_000)
                assert len((await caller.next()).svids) == 11
                assert w.server.calls["ids"] == 1
                w.server.add("e3", "/3", ME, created_at=5_000)  # made anew: the revision alone would not tell
                assert w.server.entries["e3"].revision_number == 1
                moved = await caller.next()
                while len(moved.svids) < 11:
                    moved = await caller.next()
                assert ids(moved)[-1] == "/3"

    run(main())


def test_a_useless_entry_is_skipped() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            w.server.add("e2", "/none")
            w.server.add("e3", "/bad", "unix:")
            w.server.add("e4", "", ME).ClearField("spiffe_id")
            async with joined(w) as running, stream(w, running) as caller:
                assert ids(await caller.next()) == ["/web"]
                assert w.server.batches == [1]

    run(main())


def test_an_entry_signed_on_demand() -> None:
    async def main() -> None:
        async with world() as w:
            lazy = {"additional_attributes": {"disable_x509_svid_prefetch": True}}
            w.server.add("e1", "/web", ME, **lazy)
            async with joined(w) as running:
                for _ in range(40):
                    await w.tick()
                assert not w.server.batches
                async with stream(w, running) as caller:
                    assert ids(await caller.next()) == ["/web"]

    run(main())


def test_the_first_message_waits_for_a_signature_but_not_for_ever() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            w.server.add("e2", "/db", ME, created_at=2_000)
            w.server.unsigned = {"e1", "e2"}
            async with joined(w) as running, stream(w, running) as caller:
                assert (await caller.end()).code is StatusCode.UNAVAILABLE
                w.server.unsigned = {"e2"}
                tried = len(w.server.batches)  # the pause before the next try may be longer than the wait
                await w.eventually(lambda: len(w.server.batches) > tried)
                async with stream(w, running) as partly:
                    assert ids(await partly.next()) == ["/web"]
                    w.server.unsigned = set()
                    assert ids(await partly.next()) == ["/web", "/db"]

    run(main())


@pytest.mark.spec("WAPI-13")
def test_an_entry_that_cannot_be_signed_does_not_hold_up_the_others() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            w.server.add("e2", "/db", ME, created_at=2_000)
            w.server.unsigned = {"e2"}
            async with joined(w) as running:
                await w.eventually(lambda: len(w.server.batches) > 2)
                async with stream(w, running) as caller:
                    assert ids(await caller.next_at_once()) == ["/web"]

    run(main())


def test_goodbyes_of_the_server_are_not_noticed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                before = w.server.connections
                for _ in range(3):
                    await w.server.send_away()
                    wanted = w.server.calls["SyncAuthorizedEntries"] + 2
                    while w.server.calls["SyncAuthorizedEntries"] < wanted:
                        await w.tick()
                assert w.server.connections == before + 3
                assert not [each for each in caplog.records if each.levelname in {"WARNING", "ERROR"}]

    run(main())


def test_several_changes_in_one_sync_are_one_message() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            w.server.federate("b.test")
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                for number in range(5):
                    w.server.add(f"n{number}", f"/{number}", ME, federates_with=["b.test"])
                message = await caller.next()
                while len(message.svids) < 6:
                    raise AssertionError("the entries came one by one")
                assert list(message.federated_bundles) == ["spiffe://b.test"]
                await caller.quiet()

    run(main())


def test_a_foreign_bundle_that_is_none_leaves_the_last_good_one() -> None:
    async def main() -> None:
        async with world() as w:
            good = w.server.federate("b.test")
            w.server.add("e1", "/web", ME, federates_with=["b.test"])
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                broken = w.server.foreign["b.test"]
                broken.x509_authorities[0].asn1 = b"\x30\x03junk"
                w.server.add("e1", "/web", ME, federates_with=["b.test"], hint="h")
                message = await caller.next()
                assert message.federated_bundles["spiffe://b.test"] == good.x509_authorities[0].der

    run(main())


def test_one_foreign_bundle_that_the_server_cannot_give_leaves_the_rest_alone() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            w.server.add("e2", "/other", "unix:uid:4242", federates_with=["b.test"])
            w.server.errors["GetFederatedBundle"] = RpcError(StatusCode.INTERNAL, "broken row")
            async with joined(w) as running, stream(w, running) as caller:
                assert ids(await caller.next()) == ["/web"]

    run(main())


def test_a_server_that_is_away_for_foreign_bundles_is_away() -> None:
    async def main() -> None:
        async with world() as w:
            good = w.server.federate("b.test")
            w.server.add("e1", "/web", ME, federates_with=["b.test"])
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                w.server.errors["GetFederatedBundle"] = RpcError(StatusCode.UNAVAILABLE, "away")
                w.server.add("e1", "/web", ME, federates_with=["b.test"], hint="h")
                message = await caller.next()
                assert message.federated_bundles["spiffe://b.test"] == good.x509_authorities[0].der

    run(main())


@pytest.mark.spec("WAPI-37")
def test_the_own_domain_is_no_foreign_one() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.federate("example.org")  # whatever the server has under that name
            w.server.add("e1", "/web", ME, federates_with=["example.org"])
            async with joined(w) as running:
                async with stream(w, running) as caller:
                    assert not (await caller.next()).federated_bundles
                async with stream(w, running, pb.SpiffeWorkloadAPI.FetchX509Bundles) as caller:
                    own = b"".join(each.certificate.der for each in w.server.published)
                    assert dict((await caller.next()).bundles) == {"spiffe://example.org": own}
            assert not w.server.calls["GetFederatedBundle"]

    run(main())


def test_entries_go_even_when_bundles_cannot_be_had() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                w.server.errors["GetBundle"] = RpcError(StatusCode.INTERNAL, "broken")
                del w.server.entries["e1"]
                assert (await caller.end()).code is StatusCode.PERMISSION_DENIED

    run(main())


def test_refusals_of_the_smaller_calls_cost_little() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.errors["PostStatus"] = RpcError(StatusCode.INTERNAL, "broken")
            w.server.federate("b.test")
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as caller:
                await caller.next()
                w.server.errors["GetFederatedBundle"] = RpcError(StatusCode.INTERNAL, "broken")
                w.server.add("e2", "/db", ME, created_at=2_000, federates_with=["b.test"])
                assert ids(await caller.next()) == ["/web", "/db"]
                w.server.errors.clear()
                assert (await caller.next()).federated_bundles
                assert not running.ended

    run(main())


def test_a_signer_that_is_refused_makes_the_agent_attest_again() -> None:
    async def main() -> None:
        async with world(reattestable=True) as w, joined(w):
            refused = denied(Denial.AGENT_NOT_ATTESTED, "for once")
            w.server.errors_once["BatchNewX509SVID"] = refused
            w.server.tokens["token-1"] = None
            w.server.add("e1", "/web", ME)
            (node,) = w.server.nodes
            await w.eventually(lambda: w.server.batches == [1])
            assert w.server.nodes[node].attested == 2

    run(main())


def test_a_sync_that_meets_a_goodbye_is_made_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = EntryFetcher._converse, iter([True, False])

    async def converse(self: EntryFetcher, channel: Channel) -> Any:
        if next(tries, False):
            raise RpcError(StatusCode.UNAVAILABLE, "is going away", unprocessed=True)
        return await real(self, channel)

    async def main() -> None:
        async with world() as w:
            monkeypatch.setattr(EntryFetcher, "_converse", converse)
            begun = w.clock.monotonic()
            async with joined(w):
                assert w.clock.monotonic() - begun < 2

    run(main())


def test_renewals_that_fall_due_together_are_sent_together() -> None:
    async def main() -> None:
        async with world(svid_ttl=timedelta(minutes=10)) as w:
            for number in range(40):
                w.server.add(f"e{number}", f"/{number}", ME)
            async with joined(w):
                await w.eventually(lambda: sorted(w.server.batches) == [8, 32])  # what is missing, at once
                draws = iter(range(1_000))
                w.chance.fraction = lambda: next(draws) % 40 / 400  # type: ignore[method-assign]
                for number in range(40):
                    w.server.add(f"e{number}", f"/{number}", ME)
                await w.eventually(lambda: len(w.server.batches) > 2)
                assert w.server.batches[2:] == [40]
                # They are spread over six seconds now.
                await w.eventually(lambda: sum(w.server.batches) >= 120)
                assert len(w.server.batches) <= 16

    run(main())


def test_an_authority_that_openssl_cannot_read_does_not_cut_the_agent_off() -> None:
    async def main() -> None:
        async with world() as w, joined(w) as running:
            prepared = w.server.prepare()
            odd = Certificate.parse(beyond_openssl(prepared.certificate.der))
            w.server.published[-1] = replace(prepared, certificate=odd)
            kept = Disk(w.folder / "agent")
            await w.eventually(
                lambda: odd in (kept.bundle() or Bundle(trust_domain=EXAMPLE)).x509_authorities
            )
            await w.server.stop()
            before = w.server.calls["SyncAuthorizedEntries"]
            await w.server.start()
            await w.eventually(lambda: w.server.calls["SyncAuthorizedEntries"] > before)
            assert not running.ended

    run(main())

"""The X.509-SVID profile of the Workload API, as far as it binds a client."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import aclosing

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.core.match import ANY_ID
from finial.sdk import (
    HandshakeRefusedError,
    HintError,
    Revoked,
    Updated,
    WorkloadClient,
    X509Source,
    by_hint,
    client_context,
)
from finial.wire.gen import workload as pb
from support import forge
from support.clock import settle
from support.fake_workload import (
    ROOT_A,
    ROOT_B,
    FakeWorkloadAPI,
    fresh_leaf,
    one_svid,
    serving,
    svid_of,
    svids,
)
from support.rpc import eventually, run
from support.watching import B_ID, DENIED, FOREIGN, GOOD, LEAF, accepts, watching


def without(field: str) -> pb.X509SVIDResponse:
    each = one_svid(LEAF)
    each.ClearField(field)  # type: ignore[arg-type]
    return svids(each)


@pytest.mark.spec("WAPI-15", "WAPI-16", "WAPI-17")
def test_what_a_message_leaves_out_is_gone() -> None:
    async def main() -> None:
        full = svids(one_svid(LEAF, hint="internal"), federated={B_ID: ROOT_B.der})
        full.crl.append(b"list")
        async with watching(full) as it:
            assert accepts(it.source, FOREIGN)
            assert it.source.svid.hint == "internal"
            await it.push(GOOD)
            assert it.source.context.crls == ()
            assert it.source.svid.hint == ""
            assert it.source.bundle_for(forge.B) is None
            assert not accepts(it.source, FOREIGN)

    run(main())


@pytest.mark.spec("WAPI-19")
@pytest.mark.parametrize("field", ["spiffe_id", "x509_svid", "x509_svid_key", "bundle", ""])
def test_a_message_without_a_mandatory_field_is_reported_and_discarded(
    field: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with watching(GOOD) as it:
            before = it.source.snapshot
            it.api.push(without(field) if field else svids())
            await eventually(lambda: len(it.problems) == 1)
            assert it.source.snapshot is before
            assert it.problems[0].reason.id == "workload-response-empty"
            await it.push(GOOD)  # on the same stream
            assert it.api.calls == 1

    caplog.set_level(logging.WARNING, "finial.sdk")
    run(main())
    assert "was discarded" in caplog.text


@pytest.mark.spec("WAPI-19")
def test_bundles_without_any_are_discarded() -> None:
    async def main() -> None:
        problems: list[FinialError] = []
        good = pb.X509BundlesResponse(bundles={"spiffe://a.test": ROOT_A.der})
        api = FakeWorkloadAPI(bundles=[pb.X509BundlesResponse(), good])
        async with serving(api) as address, WorkloadClient(address) as client:
            events = client.watch_x509_bundles(report=problems.append)
            async with aclosing(events):
                assert isinstance(await anext(events), Updated)
        assert [problem.reason.id for problem in problems] == ["workload-response-empty"]

    run(main())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("x509_svid", svid_of(LEAF).chain_pem()),
        ("x509_svid", ROOT_A.der),
        ("x509_svid_key", svid_of(LEAF).key_pem()),
        ("x509_svid_key", fresh_leaf().key_der),
        ("spiffe_id", "spiffe://a.test/another"),
    ],
)
def test_other_encodings_and_contradictions_are_discarded(field: str, value: str | bytes) -> None:
    async def main() -> None:
        each = one_svid(LEAF)
        setattr(each, field, value)
        async with watching(GOOD) as it:
            before = it.source.snapshot
            it.api.push(svids(each))
            await eventually(lambda: len(it.problems) == 1)
            assert it.source.snapshot is before

    run(main())


@pytest.mark.parametrize(
    ("key", "known"), [(B_ID, True), ("b.test", False), (f"{B_ID}/", False), ("spiffe://b.test/x", False)]
)
def test_federated_bundles_are_keyed_by_the_id_of_a_trust_domain(key: str, known: bool) -> None:
    async def main() -> None:
        async with watching(svids(one_svid(LEAF), federated={key: ROOT_B.der + ROOT_B.der})) as it:
            assert accepts(it.source, FOREIGN) is known
            assert bool(it.problems) is not known

    run(main())


def test_a_trust_domain_without_x509_authorities_is_known_and_untrusted() -> None:
    async def main() -> None:
        async with watching(svids(one_svid(LEAF), federated={B_ID: b""})) as it:
            assert it.source.bundle_for(forge.B) == Bundle(trust_domain=forge.B)
            assert not accepts(it.source, FOREIGN)

    run(main())


@pytest.mark.spec("WAPI-21")
def test_a_peer_is_proven_by_the_bundle_of_its_own_trust_domain_alone() -> None:
    async def main() -> None:
        async with watching(svids(one_svid(LEAF), federated={B_ID: ROOT_B.der})) as it:
            assert accepts(it.source, FOREIGN)
            assert not accepts(it.source, fresh_leaf(ROOT_B, forge.WEB))  # fits another bundle
            assert not accepts(it.source, fresh_leaf(ROOT_B, "spiffe://c.test/peer"))

    run(main())


@pytest.mark.spec("WAPI-23")
def test_bundles_of_the_x509_profile_hold_nothing_to_check_tokens_with() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD], [pb.X509BundlesResponse(bundles={"spiffe://a.test": ROOT_A.der})])
        async with serving(api) as address, WorkloadClient(address) as client:
            context, bundles = await client.fetch_x509_context(), await client.fetch_x509_bundles()
        for held in (*context.bundles.values(), *bundles.bundles.values()):
            assert held.x509_authorities
            assert held.jwt_authorities == held.wit_authorities == ()
        # Nothing that the SDK offers would validate a token with them either.
        for each in (context, bundles):
            assert not {name for name in dir(each) if "validate" in name or "jwt" in name or "wit" in name}

    run(main())


@pytest.mark.spec("WAPI-32")
def test_of_equal_hints_the_first_is_chosen_and_empty_ones_are_not_equal() -> None:
    async def main() -> None:
        b, c = (fresh_leaf(uri=f"spiffe://a.test/{name}") for name in "bc")
        message = svids(
            one_svid(LEAF, hint="x"),
            one_svid(b, "spiffe://a.test/b", hint="x"),
            one_svid(c, "spiffe://a.test/c"),
            one_svid(LEAF),
        )
        async with watching(message) as it:
            assert it.source.context.by_hint("x").id.path == "/web"
            assert [svid.id.path for svid in it.source.context.svids] == ["/web", "/c", "/web"]

    run(main())


@pytest.mark.spec("WAPI-35", "WAPI-39")
def test_after_a_denial_neither_svid_nor_bundles_are_used() -> None:
    async def main() -> None:
        async with watching(GOOD) as it:
            context = client_context(it.source, it.source, ANY_ID)
            await it.push(DENIED)
            with pytest.raises(FinialError, match="no identity issued"):
                _ = it.source.svid
            with pytest.raises(FinialError, match="no identity issued"):
                it.source.bundle_for(forge.A)
            session = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
            with pytest.raises(HandshakeRefusedError, match="no identity issued"):
                session.do_handshake()

    run(main())


@pytest.mark.spec("WAPI-35")
def test_an_svid_that_is_missing_from_a_message_is_not_used() -> None:
    async def main() -> None:
        other = fresh_leaf(uri="spiffe://a.test/other")
        async with watching(svids(one_svid(LEAF), one_svid(other, "spiffe://a.test/other"))) as it:
            await it.push(svids(one_svid(other, "spiffe://a.test/other")))
            assert [svid.id.path for svid in it.source.context.svids] == ["/other"]
            assert it.source.svid.id.path == "/other"

    run(main())


@pytest.mark.spec("WAPI-39")
def test_bundles_that_are_redacted_are_gone_from_a_watch_of_bundles() -> None:
    async def main() -> None:
        both = pb.X509BundlesResponse(bundles={"spiffe://a.test": ROOT_A.der, B_ID: ROOT_B.der})
        less = pb.X509BundlesResponse(bundles={"spiffe://a.test": ROOT_A.der})
        api = FakeWorkloadAPI(bundles=[both, less, DENIED])
        async with serving(api) as address, WorkloadClient(address) as client:
            events = client.watch_x509_bundles()
            async with aclosing(events):
                first, second, third = [await anext(events) for _ in range(3)]
        assert isinstance(first, Updated)
        assert isinstance(second, Updated)
        assert first.value.bundle_for(forge.B) is not None
        assert second.value.bundle_for(forge.B) is None
        assert isinstance(third, Revoked)

    run(main())


@pytest.mark.spec("WAPI-67")
def test_without_a_picker_the_first_svid_is_taken() -> None:
    async def main() -> None:
        other = fresh_leaf(uri="spiffe://a.test/other")
        pair = one_svid(LEAF, hint="b"), one_svid(other, "spiffe://a.test/other", hint="a")
        async with watching(svids(*pair)) as it:
            assert it.source.svid.id.path == "/web"
            await it.push(svids(*reversed(pair)))
            assert it.source.svid.id.path == "/other"

    run(main())


@pytest.mark.spec("WAPI-69", "WAPI-71")
def test_a_hint_chooses_and_a_missing_one_is_reported_never_replaced() -> None:
    async def main() -> None:
        other = fresh_leaf(uri="spiffe://a.test/other")
        message = svids(one_svid(LEAF), one_svid(other, "spiffe://a.test/other", hint="external"))
        api, problems = FakeWorkloadAPI([message]), list[FinialError]()
        async with (
            serving(api) as address,
            WorkloadClient(address) as client,
            X509Source(client, pick=by_hint("external"), report=problems.append) as source,
        ):
            assert source.svid.id == SpiffeID("spiffe://a.test/other")
            change = asyncio.ensure_future(source.updated())
            await settle()
            api.push(GOOD)
            await change
            assert isinstance(problems[0], HintError)
            with pytest.raises(FinialError, match="no SVID has the hint 'external'"):
                _ = source.svid

    run(main())

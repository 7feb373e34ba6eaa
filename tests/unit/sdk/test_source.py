"""The live source against a fake Workload API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from finial.core.errors import FinialError
from finial.core.match import ANY_ID
from finial.core.x509svid import X509SVID
from finial.rpc import RpcError, StatusCode, Unix
from finial.sdk import (
    SourceError,
    WorkloadClient,
    X509Source,
    by_hint,
    client_context,
    peer_id,
    server_context,
)
from finial.sdk.source import Snapshot
from support import forge
from support.clock import FixedChance, ManualClock, settle
from support.fake_workload import ROOT_B, FakeWorkloadAPI, fresh_leaf, one_svid, serving, svids
from support.rpc import eventually, run, socket_path

LEAF = fresh_leaf()
GOOD = svids(one_svid(LEAF), federated={"spiffe://b.test": ROOT_B.der})
DENIED = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")


def client(address: Unix, clock: ManualClock | None = None) -> WorkloadClient:
    return WorkloadClient(address, clock=clock or ManualClock(), chance=FixedChance(1.0))


def test_it_holds_what_is_newest() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD])
        seen: list[Snapshot] = []
        async with serving(api) as address, X509Source(address=f"unix://{address.path}") as source:
            assert source.svid.leaf.der == LEAF.der
            assert source.bundle_for(forge.B) == forge.bundle(forge.B, ROOT_B)
            stop = source.on_update(seen.append)
            change = asyncio.ensure_future(source.updated())
            await settle()
            renewed = fresh_leaf()
            api.push(svids(one_svid(renewed)))
            snapshot = await change
            assert snapshot is source.snapshot
            assert seen == [snapshot]
            assert source.svid.leaf.der == renewed.der
            assert source.bundle_for(forge.B) is None
            stop()
            stop()
            api.push(GOOD)
            await source.updated()
            assert len(seen) == 1
        with pytest.raises(SourceError, match="not open"):
            _ = source.svid
        with pytest.raises(SourceError, match="not open"):
            await source.updated()

    run(main())


def test_after_a_denial_nothing_is_used() -> None:
    async def main() -> None:
        api, clock = FakeWorkloadAPI([GOOD]), ManualClock()
        async with serving(api) as address, client(address, clock) as asking, X509Source(asking) as source:
            change = asyncio.ensure_future(source.updated())
            await settle()
            api.answers = [GOOD]
            api.push(DENIED)
            snapshot = await change
            assert snapshot.svid is None
            for look in (lambda: source.svid, lambda: source.bundles, lambda: source.bundle_for(forge.A)):
                with pytest.raises(
                    FinialError, match="has no identity for this process: no identity issued"
                ) as no:
                    look()
                assert no.value.reason.id == "workload-denied"
            change = asyncio.ensure_future(source.updated())
            await settle()
            await clock.advance(timedelta(seconds=1))
            assert (await change).svid is not None
            assert source.svid.leaf.der == LEAF.der

    run(main())


def test_entering_waits_for_an_entry_that_comes_later() -> None:
    async def main() -> None:
        api, clock = FakeWorkloadAPI([DENIED]), ManualClock()
        async with serving(api) as address, client(address, clock) as asking:
            source = X509Source(asking)  # waits on the machine's clock
            entering = asyncio.ensure_future(source.__aenter__())
            await eventually(lambda: api.calls == 1)
            api.answers = [GOOD]
            while not entering.done():
                await clock.advance(timedelta(seconds=30))
                await asyncio.wait([entering], timeout=0.01)
            assert (await entering).svid.leaf.der == LEAF.der
            await source.__aexit__(None, None, None)
            assert (await asking.fetch_x509_context()).svid.leaf.der == LEAF.der  # the client is not ours

    run(main())


@pytest.mark.parametrize(
    ("answers", "text", "hint"),
    [
        ([DENIED], "within 5 s: .* has no identity for this process", "Create an entry"),
        ([], "within 5 s: the Workload API at .* sent nothing", ""),
        ([svids()], "within 5 s: .*holds no SVID", "The agent sent it"),
    ],
)
def test_entering_gives_up_with_the_last_problem(answers: list[RpcError], text: str, hint: str) -> None:
    async def main() -> None:
        api, clock = FakeWorkloadAPI([*answers]), ManualClock()
        problems: list[FinialError] = []
        async with serving(api) as address, client(address, ManualClock()) as asking:
            source = X509Source(asking, clock=clock, patience=timedelta(seconds=5), report=problems.append)
            entering = asyncio.ensure_future(source.__aenter__())
            await eventually(lambda: api.calls == 1 and len(problems) == len(answers))
            await clock.advance(timedelta(seconds=5))
            with pytest.raises(SourceError, match=text) as caught:
                await entering
            assert caught.value.reason.id == "source-no-update"
            assert caught.value.reason.hint.startswith(hint)

    run(main())


def test_entering_without_an_agent_names_the_address() -> None:
    async def main() -> None:
        address = socket_path()
        source = X509Source(address=address, patience=timedelta(milliseconds=20))
        with pytest.raises(SourceError, match="cannot be reached") as caught:
            await source.__aenter__()
        assert address.path in str(caught.value)

    run(main())


def test_entering_fails_at_once_where_waiting_would_not_help() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([RpcError(StatusCode.UNIMPLEMENTED, "unknown service")])
        async with serving(api) as address, client(address) as asking:
            with pytest.raises(SourceError, match="does not serve what was asked for"):
                await X509Source(asking).__aenter__()
            assert api.calls == 1

    run(main())


def test_when_updates_end_for_good_what_is_held_stays() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD])
        async with serving(api) as address, client(address) as asking, X509Source(asking) as source:
            change = asyncio.ensure_future(source.updated())
            await settle()
            api.push(RpcError(StatusCode.UNIMPLEMENTED, "switched off"))
            with pytest.raises(FinialError, match="switched off"):
                await change
            assert source.svid.leaf.der == LEAF.der
            with pytest.raises(FinialError, match="switched off"):
                await source.updated()

    run(main())


def test_closing_the_client_ends_the_source() -> None:
    async def main() -> None:
        async with serving(FakeWorkloadAPI([GOOD])) as address:
            asking = client(address)
            async with X509Source(asking) as source:
                change = asyncio.ensure_future(source.updated())
                await settle()
                await asking.close()
                with pytest.raises(SourceError, match="client of the source was closed"):
                    await change

    run(main())


def test_picking_by_hint() -> None:
    async def main() -> None:
        other = fresh_leaf(uri="spiffe://a.test/other")
        both = svids(one_svid(LEAF), one_svid(other, "spiffe://a.test/other", hint="external"))
        api = FakeWorkloadAPI([both])
        async with (
            serving(api) as address,
            client(address) as asking,
            X509Source(asking) as plain,
            X509Source(asking, pick=by_hint("external")) as picked,
        ):
            assert plain.svid.id.path == "/web"
            assert picked.svid.id.path == "/other"
            change = asyncio.ensure_future(picked.updated())
            await settle()
            api.push(svids(one_svid(LEAF), federated={"spiffe://b.test": ROOT_B.der}))
            assert (await change).svid is None
            with pytest.raises(FinialError, match="no SVID has the hint 'external'"):
                _ = picked.svid
            assert picked.bundle_for(forge.B) is not None  # verifying goes on

    run(main())


def test_a_picker_or_a_callback_that_breaks_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def second(svids: Sequence[X509SVID]) -> X509SVID:
        return svids[1]

    def failing(snapshot: Snapshot) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        other = one_svid(fresh_leaf(uri="spiffe://a.test/other"), "spiffe://a.test/other")
        api = FakeWorkloadAPI([GOOD, svids(one_svid(LEAF), other)])
        async with (
            serving(api) as address,
            client(address) as asking,
            X509Source(asking, pick=second) as source,
        ):
            assert source.svid.id.path == "/other"
            source.on_update(failing)
            change = asyncio.ensure_future(source.updated())
            await settle()
            api.push(svids(one_svid(LEAF), other))
            await change

    run(main())
    assert "the function that picks an SVID failed" in caplog.text
    assert "a callback of X509Source failed" in caplog.text


def test_tls_follows_a_source() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD])
        async with serving(api) as address, X509Source(address=address) as source:
            leaves: list[bytes] = []

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                leaves.append(writer.get_extra_info("ssl_object").verified.leaf.der)
                writer.write(b"x")
                writer.close()

            server = await asyncio.start_server(
                serve, "127.0.0.1", 0, ssl=server_context(source, source, ANY_ID)
            )
            async with server:
                port = server.sockets[0].getsockname()[1]
                context = client_context(source, source, ANY_ID)
                renewed = fresh_leaf()
                for fresh in (None, renewed):
                    if fresh is not None:
                        change = asyncio.ensure_future(source.updated())
                        await settle()
                        api.push(svids(one_svid(fresh)))
                        await change
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                    assert peer_id(writer).text == forge.WEB
                    assert await reader.read() == b"x"
                    writer.close()
                    await writer.wait_closed()
                assert leaves == [LEAF.der, renewed.der]

    run(main())


def test_an_unexpected_failure_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("google.protobuf.struct_pb2")

    async def main() -> None:
        async with serving(FakeWorkloadAPI([GOOD])) as address:
            monkeypatch.setattr(WorkloadClient, "watch_x509", broken)
            with pytest.raises(SourceError, match="failed: ModuleNotFoundError") as caught:
                async with X509Source(client(address)):
                    pass
            assert "read its packages" in caught.value.reason.hint

    run(main())

"""The client of the Workload API against a fake one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import timedelta
from typing import TypeVar

import pytest

from finial.core.errors import FinialError
from finial.rpc import RpcError, StatusCode, Tcp, Unix
from finial.sdk import ResponseError, Revoked, Updated, WorkloadAPIError, WorkloadClient, X509Context
from finial.wire.gen import workload as pb
from support.clock import FixedChance, ManualClock, settle
from support.fake_workload import ROOT_A, ROOT_B, FakeWorkloadAPI, fresh_leaf, one_svid, serving, svids
from support.rpc import eventually, run, socket_path

Value = TypeVar("Value")

LEAF = fresh_leaf()
GOOD = svids(one_svid(LEAF))
DENIED = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")
DOWN = RpcError(StatusCode.UNAVAILABLE, "not yet")


def updated(event: Updated[Value] | Revoked) -> Value:
    assert isinstance(event, Updated), event
    return event.value


def client(address: Unix, clock: ManualClock | None = None) -> WorkloadClient:
    return WorkloadClient(address, clock=clock or ManualClock(), chance=FixedChance(1.0))


def test_asking_once() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD], [pb.X509BundlesResponse(bundles={"spiffe://b.test": ROOT_B.der})])
        async with serving(api) as address, WorkloadClient(f"unix://{address.path}") as asking:
            context = await asking.fetch_x509_context()
            assert context.svid.leaf.der == LEAF.der
            bundles = await asking.fetch_x509_bundles()
            assert [domain.name for domain in bundles.bundles] == ["b.test"]
            await eventually(lambda: api.streams == 0)
            assert api.seen[0] == api.seen[1]

    run(main())


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (DENIED, "workload-denied", "has no identity for this process: no identity issued"),
        (DOWN, "workload-unavailable", "is not available: not yet"),
        (RpcError(StatusCode.INVALID_ARGUMENT, "no"), "workload-refused", "refuses the request"),
        (
            RpcError(StatusCode.UNIMPLEMENTED, ""),
            "workload-unimplemented",
            "does not serve what was asked for",
        ),
        (RpcError(StatusCode.INTERNAL, "oops"), "workload-failed", r"failed \(INTERNAL\): oops"),
        (None, "workload-failed", "ended the stream without a message"),
    ],
)
def test_asking_once_in_vain(answer: RpcError | None, reason: str, text: str) -> None:
    async def main() -> None:
        async with serving(FakeWorkloadAPI([answer])) as address, client(address) as asking:
            with pytest.raises(WorkloadAPIError, match=text) as caught:
                await asking.fetch_x509_context()
            assert caught.value.reason.id == reason
            assert caught.value.reason.hint
            assert address.path in str(caught.value)

    run(main())


def test_nobody_there_is_told_with_the_address_and_the_next_step() -> None:
    async def main() -> None:
        address = socket_path()
        async with client(address) as asking:
            with pytest.raises(WorkloadAPIError, match="cannot be reached") as caught:
                await asking.fetch_x509_context()
        assert address.path in str(caught.value)
        assert "Check that the agent runs" in caught.value.reason.hint

    run(main())


def test_a_silent_server_is_waited_for_so_long() -> None:
    async def main() -> None:
        async with serving(FakeWorkloadAPI([])) as address, client(address) as asking:
            with pytest.raises(WorkloadAPIError, match="DEADLINE_EXCEEDED"):
                await asking.fetch_x509_context(wait=timedelta(milliseconds=20))

    run(main())


def test_a_bad_answer_to_asking_once() -> None:
    async def main() -> None:
        async with serving(FakeWorkloadAPI([svids()])) as address, client(address) as asking:
            with pytest.raises(ResponseError, match="holds no SVID"):
                await asking.fetch_x509_context()

    run(main())


def test_watching_over_updates_losses_and_restarts() -> None:
    async def main() -> None:
        api, clock = FakeWorkloadAPI([GOOD]), ManualClock()
        address = socket_path()
        problems: list[FinialError] = []
        async with client(address, clock) as watching:
            events = watching.watch_x509(report=problems.append)
            async with aclosing(events):
                async with serving(api, address):
                    assert updated(await anext(events)).svid.leaf.der == LEAF.der
                    renewed = fresh_leaf()
                    api.push(svids(one_svid(renewed), federated={"spiffe://b.test": ROOT_B.der}))
                    assert len(updated(await anext(events)).bundles) == 2
                    assert api.calls == 1
                waiting = asyncio.ensure_future(anext(events))
                await eventually(lambda: len(problems) >= 2)
                assert {problem.reason.id for problem in problems} <= {
                    "workload-unreachable", "workload-unavailable",
                }  # fmt: skip
                async with serving(api, address):
                    await clock.advance(timedelta(seconds=2))
                    assert len(updated(await waiting).bundles) == 1

    run(main())


def test_a_server_that_ends_the_stream_is_asked_again() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD])
        async with serving(api) as address, client(address) as watching:
            events = watching.watch_x509()
            async with aclosing(events):
                await anext(events)
                api.push(None)
                await anext(events)  # without the clock's moving
                assert api.calls == 2

    run(main())


def test_a_denial_is_an_event_and_the_entry_may_come_later() -> None:
    async def main() -> None:
        api, clock = FakeWorkloadAPI([DENIED]), ManualClock()
        async with serving(api) as address, client(address, clock) as watching:
            events = watching.watch_x509()
            async with aclosing(events):
                event = await anext(events)
                assert isinstance(event, Revoked)
                assert event.why.reason.id == "workload-denied"
                waiting = asyncio.ensure_future(anext(events))
                for _ in range(2):
                    calls = api.calls
                    await clock.advance(timedelta(seconds=4))
                    await eventually(lambda calls=calls: api.calls > calls)  # type: ignore[misc]
                    await settle()
                assert not waiting.done()  # told once
                api.answers = [GOOD]
                await eventually(lambda: api.streams == 0)
                while not waiting.done():
                    await clock.advance(timedelta(seconds=30))
                    await asyncio.wait([waiting], timeout=0.01)
                assert updated(await waiting).svid.leaf.der == LEAF.der
                api.push(DENIED)
                assert isinstance(await anext(events), Revoked)

    run(main())


@pytest.mark.parametrize("code", [StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED])
def test_what_no_repetition_helps_ends_the_watching(
    code: StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([RpcError(code, "no")], [RpcError(code, "no")])
        async with serving(api) as address, client(address) as watching:
            for events in (watching.watch_x509(), watching.watch_x509_bundles()):
                with pytest.raises(WorkloadAPIError, match=": no"):
                    await anext(events)
            assert api.calls == 2

    run(main())
    assert "not asking again" in caplog.text


def test_a_bad_message_is_reported_and_discarded(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD])
        problems: list[FinialError] = []
        async with serving(api) as address, client(address) as watching:
            events = watching.watch_x509(report=problems.append)
            async with aclosing(events):
                await anext(events)
                api.push(svids())
                api.push(svids(one_svid(LEAF), federated={"spiffe://b.test": b"no"}))
                assert len(updated(await anext(events)).bundles) == 1
                assert api.calls == 1
        assert [problem.reason.id for problem in problems] == [
            "workload-response-empty",
            "workload-response-bundle",
        ]

    run(main())
    assert "a message of the Workload API was discarded: svids: the message holds no SVID" in caplog.text
    assert "was passed over" in caplog.text


def test_a_report_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def failing(problem: FinialError) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        api = FakeWorkloadAPI([svids(), GOOD])
        async with serving(api) as address, client(address) as watching:
            events = watching.watch_x509(report=failing)
            async with aclosing(events):
                updated(await anext(events))

    run(main())
    assert "a function that problems are reported to failed" in caplog.text


def test_watching_bundles() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(
            bundles=[
                pb.X509BundlesResponse(
                    bundles={"spiffe://a.test": ROOT_A.der, "spiffe://b.test": ROOT_B.der}
                ),
                pb.X509BundlesResponse(bundles={"spiffe://a.test": ROOT_A.der}),
                DENIED,
            ]
        )
        async with serving(api) as address, client(address) as watching:
            events = watching.watch_x509_bundles()
            async with aclosing(events):
                assert len(updated(await anext(events)).bundles) == 2
                assert len(updated(await anext(events)).bundles) == 1
                assert isinstance(await anext(events), Revoked)

    run(main())


def test_closing_ends_every_watch(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "finial.sdk")

    async def main() -> None:
        api = FakeWorkloadAPI([GOOD], [DENIED])
        async with serving(api) as address:
            watching = client(address)

            async def collect() -> list[Updated[X509Context] | Revoked]:
                return [event async for event in watching.watch_x509()]

            svids_task = asyncio.ensure_future(collect())
            bundles = watching.watch_x509_bundles()
            assert isinstance(await anext(bundles), Revoked)
            waiting = asyncio.ensure_future(anext(bundles, None))
            await eventually(lambda: api.streams == 1)
            await settle()
            await watching.close()
            assert len(await svids_task) <= 1
            assert await waiting is None
            with pytest.raises(WorkloadAPIError, match="is closed"):
                await watching.fetch_x509_context()

    run(main())
    assert "lost" not in caplog.text


def test_an_address_object_is_taken_as_it_is() -> None:
    assert WorkloadClient(Tcp("127.0.0.1", 1)).address == Tcp("127.0.0.1", 1)

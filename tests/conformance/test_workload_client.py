"""The Workload Endpoint and the general part of the Workload API, as far as they bind a client."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from finial.core.errors import FinialError
from finial.rpc import Method, MethodKind, RpcError, Server, StatusCode, server_stream
from finial.sdk import Updated, WorkloadAPIError, WorkloadClient
from finial.sdk.stream import Accepted, Dial, Ended, Fail, Started, StreamMachine, Wait, Woken
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.clock import FixedChance, ManualClock, settle
from support.fake_workload import (
    ROOT_A,
    FakeWorkloadAPI,
    Feed,
    fresh_leaf,
    jwt_keys,
    jwts,
    key_set,
    one_jwt,
    one_svid,
    one_wit,
    serving,
    svids,
    wit_keys,
    wits,
)
from support.rpc import eventually, run, socket_path
from support.watching import GOOD, watching


@pytest.mark.spec("EP-08")
def test_each_call_carries_the_security_header_once() -> None:
    async def main() -> None:
        keys = key_set(tokens.authority()[0])
        api = FakeWorkloadAPI(
            [GOOD],
            [pb.X509BundlesResponse(bundles={"spiffe://a.test": ROOT_A.der})],
            jwt=jwts(one_jwt()),
            validated=RpcError(StatusCode.INVALID_ARGUMENT, "no"),
            jwt_bundles=Feed([jwt_keys(a=keys)]),
            wits=Feed([wits(one_wit())]),
            wit_bundles=Feed([wit_keys(a=keys)]),
        )
        async with serving(api) as address, WorkloadClient(address) as client:
            await client.fetch_x509_context()
            await client.fetch_x509_bundles()
            await client.fetch_jwt_svid(tokens.AUDIENCE)
            with pytest.raises(WorkloadAPIError):
                await client.validate_jwt_svid(tokens.jwt(), tokens.AUDIENCE)
            await client.fetch_jwt_bundles()
            await client.fetch_wit_svids()
            await client.fetch_wit_bundles()
            watches: list[AsyncGenerator[object, None]] = [
                client.watch_x509(),
                client.watch_x509_bundles(),
                client.watch_jwt_bundles(),
                client.watch_wit(),
                client.watch_wit_bundles(),
            ]
            for events in watches:
                await anext(events)
                await events.aclose()
        assert len({type(request) for request in api.asked}) == 7
        assert len(api.seen) == 12
        for metadata in api.seen:
            assert [value for name, value in metadata if name == "workload.spiffe.io"] == ["true"]

    run(main())


@pytest.mark.spec("EP-12", "EP-13")
def test_the_client_finds_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(FakeWorkloadAPI([GOOD])) as address:
            monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", f"unix://{address.path}")
            async with WorkloadClient() as client:
                assert (await client.fetch_x509_context()).svid.id.text == forge.WEB
            monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", "unix:///nowhere")
            async with WorkloadClient(f"unix:{address.path}") as client:
                assert (await client.fetch_x509_context()).svid.id.text == forge.WEB
        monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET")
        with pytest.raises(FinialError, match="SPIFFE_ENDPOINT_SOCKET is not set"):
            WorkloadClient()

    run(main())


@pytest.mark.spec("EP-26", "EP-28", "EP-30", "EP-37", "EP-38", "WAPI-34", "WAPI-56", "WAPI-73")
@pytest.mark.parametrize(
    ("code", "again"),
    [
        (StatusCode.INVALID_ARGUMENT, False),
        (StatusCode.UNIMPLEMENTED, False),
        (StatusCode.UNAVAILABLE, True),
        (StatusCode.PERMISSION_DENIED, True),
    ],
)
def test_which_status_is_followed_by_another_try(code: StatusCode, again: bool) -> None:
    async def main() -> None:
        api, clock, problems = FakeWorkloadAPI([RpcError(code, "no")]), ManualClock(), list[FinialError]()
        async with (
            serving(api) as address,
            WorkloadClient(address, clock=clock, chance=FixedChance(1.0)) as client,
        ):
            events = client.watch_x509(report=problems.append)
            first = asyncio.ensure_future(anext(events))
            await eventually(lambda: len(problems) == 1)
            await settle()
            if not again:
                with pytest.raises(WorkloadAPIError):
                    await first
                await clock.advance(timedelta(minutes=5))
                assert api.calls == 1
                return
            second = asyncio.ensure_future(anext(events)) if first.done() else first
            await clock.advance(timedelta(seconds=0.9))
            assert api.calls == 1
            await clock.advance(timedelta(seconds=0.1))
            await eventually(lambda: len(problems) == 2)
            await settle()
            await clock.advance(timedelta(seconds=1.9))
            assert api.calls == 2  # the wait has grown
            api.answers = [GOOD]
            await clock.advance(timedelta(seconds=0.1))
            assert isinstance(await second, Updated)
            await events.aclose()

    run(main())


@pytest.mark.spec("WAPI-73", "EP-38")
def test_the_sample_machine_of_the_standard() -> None:
    machine = StreamMachine(FixedChance(1.0))
    assert machine.on(Started(), 0.0) == Dial()
    wait = machine.on(Ended(StatusCode.UNAVAILABLE), 0.0)  # dialling failed
    assert isinstance(wait, Wait)
    assert machine.on(Woken(), 1.0) == Dial()
    machine.on(Accepted(), 1.0)
    assert isinstance(machine.on(Ended(StatusCode.PERMISSION_DENIED), 2.0), Wait)
    assert machine.on(Ended(StatusCode.INVALID_ARGUMENT), 3.0) == Fail()


@pytest.mark.spec("EP-04", "EP-35")
def test_a_server_without_reflection_and_without_other_profiles_will_do() -> None:
    """The fake serves two calls of the Workload API and nothing else, by standard gRPC."""

    async def main() -> None:
        async with watching(GOOD) as it:
            assert it.source.svid.id.text == forge.WEB
            assert it.api.calls == 1

    run(main())


@pytest.mark.spec("WAPI-07")
def test_one_stream_stays_open_and_nothing_is_polled() -> None:
    async def main() -> None:
        async with watching(GOOD) as it:
            for _ in range(3):
                await it.push(svids(one_svid(fresh_leaf())))
                await it.clock.advance(timedelta(hours=1))
            assert it.api.calls == 1
            assert it.api.streams == 1

    run(main())


@pytest.mark.spec("WAPI-08", "WAPI-09")
def test_after_a_loss_the_client_connects_again_at_once() -> None:
    async def main() -> None:
        async with watching(GOOD) as it:
            renewed = fresh_leaf()
            it.api.answers = [svids(one_svid(renewed))]
            await it.push(None)
            assert it.api.calls == 2
            assert it.source.svid.leaf.der == renewed.der

    run(main())


@pytest.mark.spec("WAPI-08")
def test_the_server_goes_on_when_a_client_leaves() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([GOOD])
        async with serving(api) as address:
            for number in (1, 2):
                async with WorkloadClient(address) as client:
                    assert isinstance(await anext(client.watch_x509()), Updated)
                await eventually(lambda: api.streams == 0)
                assert api.calls == number

    run(main())


@pytest.mark.spec("EP-26")
def test_a_call_that_was_refused_is_made_once() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([RpcError(StatusCode.INVALID_ARGUMENT, "no")])
        async with serving(api) as address, WorkloadClient(address) as client:
            with pytest.raises(WorkloadAPIError, match="refuses the request"):
                await client.fetch_x509_context()
        assert api.calls == 1

    run(main())


@pytest.mark.spec("EP-37")
def test_a_server_of_something_else_is_asked_once() -> None:
    async def main() -> None:
        other = Method("other.Service", "Watch", MethodKind.SERVER_STREAM, bytes, bytes, bytes, bytes)

        async def never(request: bytes, call: object) -> None:
            raise AssertionError

        async with Server([server_stream(other, never)]) as server:
            address = await server.listen(socket_path())
            async with WorkloadClient(address) as client:
                with pytest.raises(WorkloadAPIError, match="does not serve what was asked for"):
                    await anext(client.watch_x509())

    run(main())


_BOTH = """
import spiffe
from spiffe.workloadapi import workload_api_client
from finial.sdk import WorkloadClient, X509Source
from finial.wire.gen import workload
assert workload.X509SVIDResponse().SerializeToString() == b""
print(type(workload.X509SVIDRequest).__name__, "both")
"""


@pytest.mark.parametrize("order", ["py-spiffe first", "finial first"])
def test_py_spiffe_can_live_in_the_same_process(order: str) -> None:
    lines = _BOTH.strip().splitlines()
    if order == "finial first":
        lines = [*lines[2:4], "workload.X509SVIDRequest()", *lines[:2], *lines[4:]]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("both\n")

"""The server's side of the Workload Endpoint, and of the Workload API in general."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finial.agent.attest import WorkloadAttestation
from finial.agent.config import AgentSettings
from finial.rpc import Channel, Method, StatusCode, Tcp, Unix
from finial.wire import pool
from finial.wire.gen import workload as pb
from support.agent_world import HEADER, Agent, World, agent, ids, joined, on_agent, stream, world
from support.processes import child, interpreter_copy
from support.rpc import run
from support.workload_desk import SVIDS, Says, desk

# By name, since the packages bring no types.
grpc = importlib.import_module("grpc")
reflection_pb2 = importlib.import_module("grpc_reflection.v1alpha.reflection_pb2")

BUNDLES = pb.SpiffeWorkloadAPI.FetchX509Bundles
BOTH = pytest.mark.parametrize("method", [SVIDS, BUNDLES], ids=["FetchX509SVID", "FetchX509Bundles"])

PUBLISHED = {
    "FetchX509SVID": ("X509SVIDRequest", "X509SVIDResponse"),
    "FetchX509Bundles": ("X509BundlesRequest", "X509BundlesResponse"),
    "FetchJWTSVID": ("JWTSVIDRequest", "JWTSVIDResponse"),
    "FetchJWTBundles": ("JWTBundlesRequest", "JWTBundlesResponse"),
    "ValidateJWTSVID": ("ValidateJWTSVIDRequest", "ValidateJWTSVIDResponse"),
    "FetchWITSVID": ("WITSVIDRequest", "WITSVIDResponse"),
    "FetchWITBundles": ("WITBundlesRequest", "WITBundlesResponse"),
}
FIELDS = {
    "X509SVIDRequest": {},
    "X509SVIDResponse": {1: "svids", 2: "crl", 3: "federated_bundles"},
    "X509SVID": {1: "spiffe_id", 2: "x509_svid", 3: "x509_svid_key", 4: "bundle", 5: "hint"},
    "X509BundlesRequest": {},
    "X509BundlesResponse": {1: "crl", 2: "bundles"},
    "JWTSVIDRequest": {1: "audience", 2: "spiffe_id"},
    "JWTSVIDResponse": {1: "svids"},
    "JWTSVID": {1: "spiffe_id", 2: "svid", 3: "hint"},
    "JWTBundlesRequest": {},
    "JWTBundlesResponse": {1: "bundles"},
    "ValidateJWTSVIDRequest": {1: "audience", 2: "svid"},
    "ValidateJWTSVIDResponse": {1: "spiffe_id", 2: "claims"},
    "WITSVIDRequest": {1: "spiffe_id"},
    "WITSVIDResponse": {1: "svids"},
    "WITSVID": {1: "spiffe_id", 2: "wit_svid", 3: "wit_svid_key", 4: "hint"},
    "WITBundlesRequest": {},
    "WITBundlesResponse": {1: "bundles"},
}

CLIENT = """
import asyncio, json, sys
from finial.rpc import Channel, RpcError, Unix
from finial.wire.gen import workload as pb

async def main():
    async with Channel(Unix(sys.argv[1])) as channel:
        header = [("workload.spiffe.io", "true")]
        async with channel.call(pb.SpiffeWorkloadAPI.FetchX509SVID, metadata=header) as call:
            await call.send(pb.X509SVIDRequest())
            await call.half_close()
            try:
                message = await call.receive()
                print(json.dumps([svid.spiffe_id for svid in message.svids]))
            except RpcError as error:
                print(json.dumps(error.code.name))

asyncio.run(main())
"""


@pytest.mark.spec("EP-01", "EP-33", "WAPI-22", "WAPI-36")
@on_agent
async def test_the_x509_profile_is_served_at_the_endpoint(w: World, running: Agent) -> None:
    async with stream(w, running) as caller:
        assert ids(await caller.next()) == ["/web"]
    async with stream(w, running, BUNDLES) as caller:
        message = await caller.next()
        assert list(message.bundles) == ["spiffe://example.org"]
        assert [field.name for field, _ in message.ListFields()] == ["bundles"]


@pytest.mark.spec("EP-02", "EP-03", "EP-05", "EP-06", "EP-07", "EP-11")
def test_the_endpoint_is_a_unix_socket_and_nothing_else() -> None:
    settings = AgentSettings(server=Tcp("server.test", 8081))
    assert settings.socket.is_absolute()
    # No setting opens it over TCP, so it is never seen by another host, nor by a caller whom only an
    # address would tell.
    addresses = [name for name in AgentSettings.__annotations__ if "bind" in name or "listen" in name]
    assert addresses == ["metrics_bind"]  # figures, by HTTP


@pytest.mark.spec("EP-04", "EP-10", "EP-22", "EP-24")
@on_agent
async def test_a_standard_client_connects_in_plain_text_without_credentials(w: World, running: Agent) -> None:
    async with grpc.aio.insecure_channel(f"unix:{running.socket.path}") as channel:
        call = channel.unary_stream(
            "/SpiffeWorkloadAPI/FetchX509SVID", response_deserializer=pb.X509SVIDResponse.FromString
        )(b"", metadata=[("workload.spiffe.io", "true")])
        assert ids(await call.read()) == ["/web"]
        call.cancel()


@BOTH
@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("workload.spiffe.io", "True")],
        [("workload.spiffe.io", "TRUE")],
        [("workload.spiffe.io", "1")],
        [("workload.spiffe.io", "")],
        [("workload.spiffe.io", "false")],
        [("workload.spiffe.io", "true"), ("workload.spiffe.io", "true")],
        [("workload.spiffe.io", "true,true")],
        [("workload.spiffe.io", "true"), ("workload.spiffe.io", "false")],
        [("spiffe.io", "true")],
    ],
)
@pytest.mark.spec("EP-09", "EP-25")
def test_without_the_security_header_nothing_is_served(method: Method[Any, Any], metadata: Any) -> None:
    async def main() -> None:
        async with world() as w, agent(w, join_token=w.server.token()) as running:
            await running.ready()  # it is not even synchronised: the header is looked at first
            async with stream(w, running, method, metadata) as caller:
                error = await caller.end()
                assert error.code is StatusCode.INVALID_ARGUMENT
                assert error.message == "security header missing from request"

    run(main())


@pytest.mark.spec("EP-25")
@BOTH
def test_the_header_is_looked_at_before_anybody_is_attested(method: Method[Any, Any]) -> None:
    async def main() -> None:
        async with desk() as d:
            async with d.stream(method, metadata=()) as caller:
                assert (await caller.end()).code is StatusCode.INVALID_ARGUMENT
            assert d.attestor.asked == 0
            async with d.stream(method) as caller:
                await caller.next()
            assert d.attestor.asked == 1

    run(main())


@pytest.mark.spec("EP-23")
def test_the_kernel_says_who_calls_and_a_successor_is_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        attestation = WorkloadAttestation({"says": Says("x")})
        with child(tmp_path) as other, attestation.caller(other.peer) as caller:
            assert caller.process.pid == other.process.pid
            await attestation.selectors(caller)
            other.tell("end")
            with pytest.raises(Exception, match="has ended"):
                await attestation.selectors(caller)

    run(main())


@pytest.mark.spec("EP-27")
@BOTH
def test_before_the_first_sync_the_endpoint_is_unavailable(method: Method[Any, Any]) -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w):
                pass
            await w.server.stop()
            async with agent(w) as running:
                await running.ready()
                async with stream(w, running, method) as caller:
                    assert (await caller.end()).code is StatusCode.UNAVAILABLE

    run(main())


@pytest.mark.spec("EP-29", "WAPI-33", "WAPI-38")
@BOTH
def test_a_caller_without_any_identity_is_denied(method: Method[Any, Any]) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", "unix:uid:4242424")
            async with joined(w) as running, stream(w, running, method) as caller:
                error = await caller.end()
                assert (error.code, error.message) == (StatusCode.PERMISSION_DENIED, "no identity issued")

    run(main())


@pytest.mark.spec("EP-31", "EP-34", "WAPI-05")
@on_agent
async def test_reflection_lists_the_services_each_under_its_own_name(w: World, running: Agent) -> None:
    async with grpc.aio.insecure_channel(f"unix:{running.socket.path}") as channel:
        for version in ("v1", "v1alpha"):
            method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            call = channel.stream_stream(
                method,
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            reply = await call.read()
            names = [each.name for each in reply.list_services_response.service]
            assert names.count("SpiffeWorkloadAPI") == 1
            assert set(names) == {
                "SpiffeWorkloadAPI",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            }
            call.cancel()


@pytest.mark.spec("EP-32", "WAPI-04")
def test_the_served_descriptor_is_the_published_one() -> None:
    service = pool.service_descriptor("SpiffeWorkloadAPI")
    found = {each.name: (each.input_type.name, each.output_type.name) for each in service.methods}
    assert found == PUBLISHED
    for name, expected in FIELDS.items():
        fields = {field.number: field.name for field in pool.message_class(name).DESCRIPTOR.fields}
        assert fields == expected, name


@pytest.mark.spec("EP-36", "WAPI-55")
@on_agent
async def test_calls_that_are_not_served_are_unimplemented(w: World, running: Agent) -> None:
    absent = [
        "/SpiffeWorkloadAPI/FetchWITSVID",
        "/SpiffeWorkloadAPI/FetchWITBundles",
        "/SpiffeWorkloadAPI/Nothing",
        "/nowhere.Service/Method",
    ]
    async with grpc.aio.insecure_channel(f"unix:{running.socket.path}") as channel:
        for path in absent:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"", metadata=HEADER)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.spec("WAPI-06")
def test_each_process_is_served_by_its_own_identity_at_the_same_time(tmp_path: Path) -> None:
    copy, environment = interpreter_copy(tmp_path, "another-program")

    async def ask(program: Path | str, socket: Unix, env: dict[str, str]) -> Any:
        process = await asyncio.create_subprocess_exec(
            program, "-c", CLIENT, socket.path, stdout=subprocess.PIPE, env={**os.environ, **env}
        )
        out, _ = await process.communicate()
        return json.loads(out)

    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/mine", f"unix:path:{os.path.realpath(sys.executable)}")
            w.server.add("e2", "/other", f"unix:path:{copy}")
            async with joined(w) as running:
                await w.eventually(lambda: sum(w.server.batches) == 2)
                both = asyncio.gather(
                    ask(sys.executable, running.socket, {}), ask(copy, running.socket, environment)
                )
                assert await w.within(both) == [["spiffe://example.org/mine"], ["spiffe://example.org/other"]]
                async with (  # several calls on one connection
                    Channel(running.socket) as channel,
                    stream(w, running, channel=channel) as first,
                    stream(w, running, channel=channel) as second,
                ):
                    assert ids(await first.next()) == ids(await second.next()) == ["/mine"]

    run(main())


@pytest.mark.spec("WAPI-08")
@on_agent
async def test_a_client_that_goes_and_a_server_that_goes_leave_the_other_well(
    w: World, running: Agent
) -> None:
    for _ in range(3):
        async with stream(w, running) as caller:
            await caller.next()
    async with stream(w, running) as caller:
        await caller.next()
        assert not running.ended

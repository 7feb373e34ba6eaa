"""Who may speak to whom over TLS: SPIFFE IDs in certificates, against grpc-go and crypto/tls."""

from __future__ import annotations

import pytest

from finial.rpc import Channel, RpcError, StatusCode
from support.interop_certs import CLIENT_ID, OTHER_ID, SERVER_ID
from support.interop_process import PeerProcess
from support.interop_service import UNARY
from support.interop_world import WAIT, World, case

TLS_1_2, TLS_1_3 = 0x0303, 0x0304

pytestmark = pytest.mark.parametrize("transport", ["mtls"])


async def unavailable(channel: Channel) -> str:
    with pytest.raises(RpcError) as caught:
        await channel.unary(UNARY, b"peer", timeout=WAIT)
    assert caught.value.code is StatusCode.UNAVAILABLE
    return caught.value.message


async def refused(client: PeerProcess) -> str:
    # A deadline, since grpc-go retries a handshake that failed for as long as it is let.
    answer = await client.order("unary", conn="main", method="Unary", steps="peer", timeout_ms=10_000)
    assert answer["code"] == 14
    return str(answer["message"])


@case
async def test_each_side_learns_the_others_id(world: World) -> None:
    client, _ = await world.go_to_ours()
    answer = await client.order("unary", conn="main", method="Unary", steps="peer")
    assert answer["text"] == CLIENT_ID
    channel, _ = await world.ours_to_go()
    assert await channel.unary(UNARY, b"peer", timeout=WAIT) == CLIENT_ID.encode()
    assert str((await channel.connect()).identity) == SERVER_ID


@case
async def test_a_client_without_a_certificate_is_anonymous(world: World) -> None:
    server = await world.our_server()
    client = await world.go_process()
    tls = world.pki.go_tls(None, SERVER_ID)
    await client.order("dial", conn="main", target=str(server.address), tls=tls)
    answer = await client.order("unary", conn="main", method="Unary", steps="peer")
    assert answer["text"] == "anonymous"

    _, address = await world.go_server()
    tls_of_ours = world.pki.client_tls(show=None)
    async with Channel(address, tls=tls_of_ours, engine=world.engine) as channel:
        assert await channel.unary(UNARY, b"peer", timeout=WAIT) == b"anonymous"


@case
async def test_our_server_refuses_an_id_that_it_does_not_expect(world: World) -> None:
    server = await world.our_server()
    client = await world.go_process()
    tls = world.pki.go_tls(world.pki.other, SERVER_ID)
    await client.order("dial", conn="main", target=str(server.address), tls=tls)
    await refused(client)


@case
async def test_our_server_refuses_a_foreign_authority(world: World) -> None:
    server = await world.our_server()
    client = await world.go_process()
    tls = world.pki.go_tls(world.pki.foreign.issue(CLIENT_ID), SERVER_ID)
    await client.order("dial", conn="main", target=str(server.address), tls=tls)
    await refused(client)


@case
async def test_grpc_go_refuses_our_server_under_another_id(world: World) -> None:
    server = await world.our_server()
    client = await world.go_process()
    tls = world.pki.go_tls(world.pki.client, OTHER_ID)
    await client.order("dial", conn="main", target=str(server.address), tls=tls)
    assert "peer is" in await refused(client)


@case
async def test_our_client_refuses_a_server_under_another_id(world: World) -> None:
    _, address = await world.go_server()
    tls = world.pki.client_tls(show=world.pki.client, expect=OTHER_ID)
    async with Channel(address, tls=tls, engine=world.engine) as channel:
        assert SERVER_ID in await unavailable(channel)


@case
async def test_grpc_go_refuses_our_client_under_another_id(world: World) -> None:
    _, address = await world.go_server()
    channel = await world.channel(address, show=world.pki.other)
    await unavailable(channel)


@case
async def test_our_client_refuses_a_server_without_tls(world: World) -> None:
    world.transport = "unix"
    _, address = await world.go_server()
    world.transport = "mtls"
    await unavailable(await world.channel(address))


@pytest.mark.parametrize("offered", ["", "http/1.1"])
@case
async def test_a_client_that_does_not_offer_http2_is_closed(world: World, offered: str) -> None:
    server = await world.our_server()
    client = await world.go_process()
    tls = world.pki.go_tls(world.pki.client, SERVER_ID)
    answer = await client.order("probe", target=str(server.address), tls=tls, kind=offered)
    assert not answer["served"]


@pytest.mark.parametrize(
    ("version", "shown", "served"), [(TLS_1_3, True, True), (TLS_1_3, False, True), (TLS_1_2, True, True)]
)
@case
async def test_tls_versions(world: World, version: int, shown: bool, served: bool) -> None:
    server = await world.our_server()
    client = await world.go_process()
    tls = {**world.pki.go_tls(world.pki.client if shown else None, SERVER_ID), "max": version}
    answer = await client.order("probe", target=str(server.address), tls=tls, kind="h2")
    assert (answer["served"], answer["version"], answer["alpn"]) == (served, version, "h2")

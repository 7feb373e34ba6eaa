"""What the trust domain and bundle standard asks of a server and an agent that run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Kind
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTRequest
from finial.core.keys import public_key_der
from finial.core.witsvid import WITRequest
from finial.core.x509_profile import SVIDRequest
from finial.server import app
from finial.server.ca.issue import Authority
from finial.server.ca.orders import OrderError
from finial.server.ca.tokens import JWTSigner, WITSigner
from finial.server.index.index import Index
from finial.server.store.pruning import without_ended
from finial.wire import bundles
from finial.wire.gen import grpc_health_v1 as health_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_localauthority_v1 as authority_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.gen import workload as workload_pb
from support import forge, tokens
from support.agent_world import ME, Agent, World, on_agent, stream
from support.authority_world import HastyClock
from support.clock import FixedChance, ManualClock
from support.server_app import RunningServer, running

_ORDERS = authority_pb.LocalAuthority
SECOND = timedelta(seconds=1)


async def own(server: RunningServer) -> Bundle:
    return bundles.read_bundle(
        await server.admin.unary(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
    )


async def rotate(server: RunningServer) -> list[Bundle]:
    """Prepare, activate, taint and revoke; the own bundle after each."""
    seen = []
    ask = server.admin.unary
    state = await ask(_ORDERS.GetX509AuthorityState, authority_pb.GetX509AuthorityStateRequest())
    first = state.active.authority_id
    prepared = await ask(_ORDERS.PrepareX509Authority, authority_pb.PrepareX509AuthorityRequest())
    seen.append(await own(server))
    second = prepared.prepared_authority.authority_id
    await ask(_ORDERS.ActivateX509Authority, authority_pb.ActivateX509AuthorityRequest(authority_id=second))
    seen.append(await own(server))
    await ask(_ORDERS.TaintX509Authority, authority_pb.TaintX509AuthorityRequest(authority_id=first))
    seen.append(await own(server))
    await ask(_ORDERS.RevokeX509Authority, authority_pb.RevokeX509AuthorityRequest(authority_id=first))
    return [*seen, await own(server)]


@pytest.mark.spec("BUNDLE-01", "BUNDLE-07", "BUNDLE-13", "BUNDLE-14", "FED-03")
def test_the_number_rises_with_each_change_and_never_falls(tmp_path: Path) -> None:
    async def main() -> None:
        clock, last = HastyClock(), None
        for start in range(3):
            async with running(tmp_path, clock=clock) as server:
                before = await own(server)
                assert last in {None, before}  # another process has the number of the one before
                prepared, activated, tainted, revoked = await rotate(server)
                assert set(prepared.x509_authorities) > set(before.x509_authorities)
                assert prepared.sequence == before.sequence + 1
                assert {prepared.sequence} == {activated.sequence, tainted.sequence}
                assert len(set(revoked.x509_authorities) & set(before.x509_authorities)) == 0
                assert revoked.sequence == prepared.sequence + 1
                key = tokens.authority(f"k{start}")[0]
                told = types.JWTKey(key_id=key.key_id, public_key=public_key_der(key.key))
                request = bundle_pb.AppendBundleRequest(jwt_authorities=[told])
                for _ in range(2):  # the second time changes nothing
                    await server.admin.unary(bundle_pb.Bundle.AppendBundle, request)
                    last = await own(server)
                    assert last.sequence == revoked.sequence + 1
                    assert last.jwt_authority(key.key_id) == key

    asyncio.run(main())


@pytest.mark.spec("ID-32")
def test_without_a_signing_key_nothing_is_issued_and_nobody_is_told_that_all_is_well(tmp_path: Path) -> None:
    clock = ManualClock()
    svid = SVIDRequest(spiffe_id=SpiffeID(forge.WEB), public_key=forge.key().public_key())
    jwt = JWTRequest(spiffe_id=SpiffeID(forge.WEB), audience=("db",))
    wit = WITRequest(spiffe_id=SpiffeID(forge.WEB), public_key=forge.key().public_key())
    for sign in (
        lambda: Authority(forge.A, clock=clock, chance=FixedChance()).sign_svid(svid, SECOND),
        lambda: JWTSigner(forge.A, clock=clock).sign_jwt(jwt, SECOND),
        lambda: WITSigner(forge.A, clock=clock).sign_wit(wit, SECOND),
    ):
        with pytest.raises(OrderError) as caught:
            sign()
        assert caught.value.reason.kind is Kind.UNAVAILABLE
    assert not app._serves(Index(forge.A))

    async def main() -> None:
        async with running(tmp_path / "sound") as server:
            health = await server.admin.unary(health_pb.Health.Check, health_pb.HealthCheckRequest())
            assert health.status == health_pb.HealthCheckResponse.SERVING
            assert (await own(server)).x509_authorities
        (tmp_path / "keyless").mkdir()
        (tmp_path / "keyless" / "private").write_text("where the keys ought to be")
        with pytest.raises(FinialError):
            async with running(tmp_path / "keyless"):
                pytest.fail("it says that it is ready")

    asyncio.run(main())


@pytest.mark.spec("FED-06")
def test_a_key_goes_after_the_last_svid_below_it_has_ended() -> None:
    # Nothing that is signed by an authority lives longer than the authority.
    old, new = forge.root("old", not_after=forge.NOW), forge.root("new")
    key = tokens.authority("old", expires_at=forge.NOW)[0]
    both = replace(forge.bundle(forge.A, old, new), jwt_authorities=(key,))
    later = timedelta(hours=24)
    assert without_ended(both, forge.NOW + later - SECOND) == both
    assert without_ended(both, forge.NOW + later + SECOND) == forge.bundle(forge.A, new)


@pytest.mark.spec("BUNDLE-08", "FED-23")
@on_agent
async def test_a_changed_foreign_bundle_comes_on_open_streams(w: World, running: Agent) -> None:
    async with (
        stream(w, running) as svids,
        stream(w, running, workload_pb.SpiffeWorkloadAPI.FetchX509Bundles) as foreign,
    ):
        w.server.federate("b.test")
        w.server.add("e1", "/web", ME, federates_with=["b.test"])
        name = "spiffe://b.test"
        message, told = await svids.next(), await foreign.next()
        while name not in message.federated_bundles:
            message = await svids.next()
        while name not in told.bundles:
            told = await foreign.next()
        before = message.federated_bundles[name]
        assert told.bundles[name] == before
        other = w.server.federate("b.test")
        after = b"".join(each.der for each in other.x509_authorities)
        assert after != before
        while message.federated_bundles[name] != after:
            message = await svids.next()
        while told.bundles[name] != after:
            told = await foreign.next()

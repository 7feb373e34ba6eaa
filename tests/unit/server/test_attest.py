"""Letting nodes in by an attestor, and renewing them: one ID, one node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.plugin.node import AttestedNode, Exchange
from finial.rpc import RpcError, StatusCode
from finial.server.attest import Attestation, join_token_id, loggable
from finial.server.store import nodes
from finial.server.store.records import NodeRecord
from finial.server.store.writer import Tx, _Unit
from finial.wire.statuses import Denial, denial
from support import forge
from support.server_app import csr
from support.server_store import DOMAIN, Stored, opened

KEY = ec.generate_private_key(ec.SECP256R1())
AGENT = SpiffeID("spiffe://example.org/spire/agent/rack/7")


@dataclass
class Rack:
    """Believes everybody, and says what it is told to say."""

    node: AttestedNode

    async def attest(self, payload: bytes, exchange: Exchange) -> AttestedNode:
        return self.node


class Signer:
    """Signs nothing, but gives certificates with serial numbers of their own."""

    def __init__(self) -> None:
        self.signed: list[Certificate] = []

    def sign_svid(self, request: SVIDRequest, ttl: timedelta) -> tuple[Certificate, ...]:
        assert request.public_key == KEY.public_key()
        made = forge.make("leaf", uris=[request.spiffe_id.text], serial=len(self.signed) + 1)
        leaf = made.certificate
        self.signed.append(leaf)
        return (leaf,)


@dataclass
class Site:
    world: Stored
    rack: Rack
    signer: Signer
    attestation: Attestation

    async def attest(self) -> None:
        await self.attestation.by_plugin("rack", b"7", csr(KEY), exchange=_no_exchange)

    @property
    def node(self) -> NodeRecord:
        found = self.world.index.nodes.get(AGENT.text)
        assert found is not None
        return found


async def _no_exchange(challenge: bytes) -> bytes:
    raise AssertionError(challenge)


def _nothing() -> None:
    pass


@asynccontextmanager
async def _site(path: Path, *, can_reattest: bool) -> AsyncIterator[Site]:
    async with opened(path / "db") as world:
        rack = Rack(AttestedNode(AGENT, (Selector("rack", "7"),), can_reattest))
        signer = Signer()
        attestation = Attestation(
            DOMAIN, world.store, signer=signer, attestors={"rack": rack}, ttl=timedelta(hours=1)
        )
        yield Site(world, rack, signer, attestation)


def _refused(error: RpcError) -> tuple[StatusCode, Denial | None]:
    return error.code, denial(error)


def test_a_node_that_can_attest_again_does_and_its_selectors_are_those_of_now(tmp_path: Path) -> None:
    async def main() -> None:
        async with _site(tmp_path, can_reattest=True) as site:
            await site.attest()
            site.rack.node = replace(site.rack.node, selectors=(Selector("rack", "8"),))
            await site.attest()
            assert site.node.serial == "2"
            assert site.node.selectors == (Selector("rack", "8"),)
            with pytest.raises(RpcError) as caught:
                await site.attestation.renew(AGENT, csr(KEY), recheck=_nothing)
            assert _refused(caught.value) == (StatusCode.PERMISSION_DENIED, Denial.AGENT_MUST_REATTEST)

    asyncio.run(main())


def test_what_attests_only_once_does_not_take_the_id_of_a_node_that_has(tmp_path: Path) -> None:
    async def main() -> None:
        async with _site(tmp_path, can_reattest=False) as site:
            await site.attest()
            with pytest.raises(RpcError) as caught:
                await site.attest()
            assert caught.value.code is StatusCode.PERMISSION_DENIED
            assert caught.value.message.startswith(
                "nodeattestor(rack): attestation data has already been used to attest an agent"
            )
            assert site.node.serial == "1"
            await site.world.store.write(lambda tx: nodes.remove(tx, AGENT.text))
            await site.attest()
            assert site.node.serial == "3"

    asyncio.run(main())


def test_a_banned_node_is_kept_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with _site(tmp_path, can_reattest=True) as site:
            await site.attest()
            await site.world.store.write(
                lambda tx: nodes.put(tx, replace(nodes.get(tx, AGENT.text), serial=""))
            )
            for attempt in (site.attest, lambda: site.attestation.renew(AGENT, csr(KEY), recheck=_nothing)):
                with pytest.raises(RpcError) as caught:
                    await attempt()
                assert _refused(caught.value) == (StatusCode.PERMISSION_DENIED, Denial.AGENT_BANNED)

    asyncio.run(main())


def _again(site: Site) -> Callable[[], None]:
    """Evict the agent and let another node attest under its ID, just before a renewal is noted."""
    successor = replace(site.node, seq=0, serial="999")

    def work(tx: Tx) -> None:
        nodes.remove(tx, AGENT.text)
        nodes.put(tx, successor)

    future = asyncio.get_running_loop().create_future()
    return lambda: site.world.store._queue.put(_Unit(work, future))


def test_an_evicted_agent_is_not_renewed_into_the_record_of_its_successor(tmp_path: Path) -> None:
    async def main() -> None:
        async with _site(tmp_path, can_reattest=False) as site:
            await site.attest()
            with pytest.raises(RpcError) as caught:
                await site.attestation.renew(AGENT, csr(KEY), recheck=_again(site))
            assert _refused(caught.value) == (StatusCode.PERMISSION_DENIED, Denial.AGENT_NOT_ACTIVE)
            assert (site.node.serial, site.node.pending_serial) == ("999", "")

    asyncio.run(main())


def test_a_renewal_ends_where_its_caller_would_not_be_admitted_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with _site(tmp_path, can_reattest=False) as site:
            await site.attest()

            def gone() -> None:
                raise RpcError(StatusCode.PERMISSION_DENIED, "no more")

            with pytest.raises(RpcError, match="no more"):
                await site.attestation.renew(AGENT, csr(KEY), recheck=gone)
            assert len(site.signer.signed) == 1
            await site.attestation.renew(AGENT, csr(KEY), recheck=_nothing)
            assert site.node.pending_serial == "2"

    asyncio.run(main())


def test_an_id_below_another_attestors_name_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with _site(tmp_path, can_reattest=True) as site:
            await site.attest()
            assert not caplog.records
            site.rack.node = replace(site.rack.node, agent_id=join_token_id(DOMAIN, "secret"))
            await site.attest()

    with caplog.at_level("WARNING", logger="finial.server"):
        asyncio.run(main())
    (record,) = caplog.records
    assert record.message == "an attestor gave an ID that is not below its own name"
    assert "secret" not in str(vars(record))


def test_logs_tell_agents_apart_and_no_tokens() -> None:
    assert loggable(AGENT) == AGENT.text
    one, other = (loggable(join_token_id(DOMAIN, token)) for token in ("one", "other"))
    assert one != other
    assert one.startswith("spiffe://example.org/spire/agent/join_token/sha256:")
    assert "one" not in one
    assert len(one.rpartition(":")[2]) == 12

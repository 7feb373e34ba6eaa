"""The SVID service, X.509: what is signed comes from the entry, or from an operator's request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from finial.core.ids import SpiffeID
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_x509
from finial.rpc import Channel, RpcError, StatusCode
from finial.runtime.metrics import Counter
from finial.server import signing
from finial.server.api.chain import Caller
from finial.server.api.svid import Ground
from finial.server.api.svid_x509 import X509Service
from finial.server.policy import Role
from finial.server.signing import Turns
from finial.server.store import nodes
from finial.server.store.records import Change, ChangeKind, NodeRecord
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.hints import write_remaining
from support import forge
from support.clock import START, FixedChance, ManualClock
from support.server_app import RunningServer, an_entry, csr, running
from support.server_store import an_entry as stored_entry
from support.server_store import opened

SVID = svid_pb.SVID
KEY = ec.generate_private_key(ec.SECP256R1())


async def _batch(server: RunningServer, *params: tuple[str, bytes]) -> svid_pb.BatchNewX509SVIDResponse:
    channel = await server.channel((await server.join("/node")).pair)
    request = svid_pb.BatchNewX509SVIDRequest(
        params=[svid_pb.NewX509SVIDParams(entry_id=entry, csr=data) for entry, data in params]
    )
    return await channel.unary(SVID.BatchNewX509SVID, request)


@pytest.mark.spec("ID-45")
def test_what_is_signed_comes_from_the_entry_and_only_the_key_from_the_request(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            entry = an_entry("/web")
            entry.dns_names.extend(["web.example.org", "www.example.org"])
            entry.x509_svid_ttl = 90
            (entry_id,) = await server.create(entry)
            reply = await _batch(server, (entry_id, csr(KEY, "spiffe://example.org/somebody-else")))
            (result,) = reply.results
            assert (result.status.code, result.status.message) == (0, "OK")
            proof = verify_x509(tuple(result.svid.cert_chain), await server.trust(), now=START)
            assert proof.id == SpiffeID("spiffe://example.org/web")
            assert proof.leaf.names.dns == ("web.example.org", "www.example.org")
            assert proof.leaf.not_after == START + timedelta(seconds=90)
            assert result.svid.expires_at == int(proof.leaf.not_after.timestamp())
            assert result.svid.id.path == "/web"
            assert result.svid.hint == ""

    asyncio.run(main())


def test_each_item_succeeds_or_fails_on_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            (good,) = await server.create(an_entry("/web"))
            (foreign,) = await server.create(an_entry("/web", parent="/other-node"))
            tampered = bytearray(csr(KEY))
            tampered[-1] ^= 1
            reply = await _batch(
                server,
                ("", csr(KEY)),
                (good, b""),
                (good, b"garbage"),
                (good, bytes(tampered)),
                (foreign, csr(KEY)),
                ("nobody", csr(KEY)),
                (good, csr(KEY)),
            )
            assert [(result.status.code, result.status.message[:30]) for result in reply.results] == [
                (3, "missing entry ID"),
                (3, "missing CSR"),
                (3, "malformed CSR: the request can"),
                (3, "malformed CSR: the signature o"),
                (5, "entry not found or not authori"),
                (5, "entry not found or not authori"),
                (0, "OK"),
            ]

    asyncio.run(main())


def test_five_hundred_are_signed_and_more_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            (entry,) = await server.create(an_entry("/web"))
            reply = await _batch(server, *[(entry, csr(KEY))] * 500)
            assert len(reply.results) == 500
            assert all(result.status.code == 0 for result in reply.results)
            with pytest.raises(RpcError, match=r"rate \(501\) exceeds burst size \(500\)") as caught:
                await _batch(server, *[(entry, csr(KEY))] * 501)
            assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
            with pytest.raises(RpcError, match="missing parameters"):
                await _batch(server)

    asyncio.run(main())


def test_an_svid_never_outlives_the_authority(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, ca_ttl=timedelta(minutes=10)) as server:
            entry = an_entry("/web")
            entry.x509_svid_ttl = 3600
            (entry_id,) = await server.create(entry)
            reply = await _batch(server, (entry_id, csr(KEY)))
            assert reply.results[0].svid.expires_at == int((START + timedelta(minutes=10)).timestamp())

    asyncio.run(main())


class _Hurrying(ManualClock):
    """Moves on whenever it is looked at, so that work takes time."""

    def monotonic(self) -> float:
        self._move_to(self._seconds + 0.001)
        return self._seconds


def _signing(count: int, entry: str, data: bytes) -> svid_pb.BatchNewX509SVIDRequest:
    return svid_pb.BatchNewX509SVIDRequest(
        params=[svid_pb.NewX509SVIDParams(entry_id=entry, csr=data)] * count
    )


def test_an_agent_that_holds_nothing_is_not_kept_waiting_by_one_that_renews_in_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, clock=_Hurrying()) as server:
            entries = await server.create(an_entry("/web"), an_entry("/api", parent="/other"))
            patient = await server.channel((await server.join("/node")).pair)
            hurried = await server.channel((await server.join("/other")).pair)
            data, done = csr(KEY), []

            async def ask(channel: Channel, count: int, entry: str, left: timedelta) -> None:
                request = _signing(count, entry, data)
                reply = await channel.unary(SVID.BatchNewX509SVID, request, metadata=[write_remaining(left)])
                assert [result.status.code for result in reply.results] == [0] * count
                done.append(entry)

            first = asyncio.ensure_future(ask(patient, 400, entries[0], timedelta(minutes=30)))
            health = asyncio.ensure_future(server.trust())
            await ask(hurried, 1, entries[1], timedelta(0))
            await health
            assert not first.done()
            await first
            assert done == [entries[1], entries[0]]

    asyncio.run(main())


def test_an_agent_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, clock=_Hurrying(), ratelimit_signing=False) as server:
            channel = await server.channel((await server.join("/node")).pair)
            request = _signing(400, "nobody", b"")
            calls = [
                channel.unary(SVID.BatchNewX509SVID, request) for _ in range(signing.MOST_CALLS_OF_ONE + 2)
            ]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            refused = [end for end in ends if isinstance(end, RpcError)]
            assert [error.code for error in refused] == [StatusCode.RESOURCE_EXHAUSTED] * 2
            for error in refused:
                assert error.retry_after is not None
                assert timedelta(seconds=1) <= error.retry_after <= timedelta(minutes=1)

    asyncio.run(main())


class _Signer:
    """Signs, and has something happen behind the third signature."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.signed = 0
        self._then = then
        self._chain = (forge.leaf(forge.root("root"), "spiffe://example.org/web").certificate,)

    def sign_svid(self, request: SVIDRequest, ttl: timedelta) -> tuple[Certificate, ...]:
        self.signed += 1
        if self.signed == 3:
            self._then()
        return self._chain


@pytest.mark.parametrize("how", ["banned", "entry gone"])
def test_what_ends_while_others_have_their_turn_is_signed_no_more(tmp_path: Path, how: str) -> None:
    agent = SpiffeID("spiffe://example.org/spire/agent/test/one")
    refusals: list[RpcError] = []

    def recheck() -> None:
        if refusals:
            raise refusals[0]

    async def main() -> None:
        async with opened(tmp_path / "db") as world:

            def end() -> None:
                if how == "banned":
                    refusals.append(RpcError(StatusCode.PERMISSION_DENIED, "banned"))
                else:
                    world.index.apply([Change(ChangeKind.ENTRY, "web", None)], world.index.position + 1)

            await world.create(stored_entry("web", parent="spire/agent/test/one"))
            node = NodeRecord(seq=0, id=agent.text, attestation_type="test", serial="1", expires_at=0)
            await world.store.write(lambda tx: nodes.put(tx, node))
            signer, turns, signed = _Signer(end), Turns(clock=world.clock, chance=FixedChance()), Counter()
            ground = Ground(world.index, turns, world.clock)
            service = X509Service(ground, signer, limit=None, ttl=timedelta(hours=1), signed=signed)
            caller = Caller(Role.AGENT, "192.0.2.1", agent, recheck)
            answer = service.batch_new(_signing(5, "web", csr(KEY)), caller)
            if how == "banned":
                with pytest.raises(RpcError, match="banned"):
                    await answer
            else:
                codes = [result.status.code for result in (await answer).results]
                assert codes == [0, 0, 0, StatusCode.NOT_FOUND, StatusCode.NOT_FOUND]
            assert signer.signed == signed.value == 3

    asyncio.run(main())


def _request(*names: x509.GeneralName, subject: str = "") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


URI = x509.UniformResourceIdentifier("spiffe://example.org/minted")


def test_an_operator_mints_for_any_workload(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            data = _request(URI, x509.DNSName("a.example.org"), subject="CN=old,O=Mine")
            request = svid_pb.MintX509SVIDRequest(csr=data, ttl=60)
            reply = await server.admin.unary(SVID.MintX509SVID, request)
            proof = verify_x509(tuple(reply.svid.cert_chain), await server.trust(), now=START)
            assert proof.id == SpiffeID("spiffe://example.org/minted")
            assert proof.leaf.not_after == START + timedelta(seconds=60)
            leaf = x509.load_der_x509_certificate(reply.svid.cert_chain[0])
            assert leaf.subject.rfc4514_string() == "CN=a.example.org,O=Mine"
            plain = svid_pb.MintX509SVIDRequest(csr=_request(URI))
            reply = await server.admin.unary(SVID.MintX509SVID, plain)
            leaf = x509.load_der_x509_certificate(reply.svid.cert_chain[0])
            assert leaf.subject.rfc4514_string() == "O=SPIRE,C=US"
            assert leaf.not_valid_after_utc == START + timedelta(hours=1)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (svid_pb.MintX509SVIDRequest(), "missing CSR"),
        (svid_pb.MintX509SVIDRequest(csr=b"x"), "malformed CSR"),
        (svid_pb.MintX509SVIDRequest(csr=csr(KEY)), "0 URIs"),
        (svid_pb.MintX509SVIDRequest(csr=csr(KEY, "https://example.org/")), "malformed CSR"),
        (
            svid_pb.MintX509SVIDRequest(csr=csr(KEY, "spiffe://other.test/x")),
            'CSR URI SAN is invalid: "spiffe://other.test/x" is not a member of trust domain "example.org"',
        ),
        (
            svid_pb.MintX509SVIDRequest(csr=csr(KEY, "spiffe://example.org")),
            '"spiffe://example.org" is not a workload in trust domain "example.org"; path is empty',
        ),
        (
            svid_pb.MintX509SVIDRequest(csr=csr(KEY, "spiffe://example.org/spire/server")),
            "path is in the reserved namespace",
        ),
        (svid_pb.MintX509SVIDRequest(csr=csr(KEY, "spiffe://example.org/x"), ttl=-1), "ttl is negative"),
        (svid_pb.MintX509SVIDRequest(csr=_request(URI, x509.DNSName("bad_.-"))), "DNS name"),
    ],
)
def test_what_must_not_be_minted_is_refused(
    tmp_path: Path, request_: svid_pb.MintX509SVIDRequest, text: str
) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            with pytest.raises(RpcError) as caught:
                await server.admin.unary(SVID.MintX509SVID, request_)
            assert caught.value.code is StatusCode.INVALID_ARGUMENT
            assert text in caught.value.message

    asyncio.run(main())

"""The SVID service: what is signed comes from the entry, or from an operator's request."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from finial.core.ids import SpiffeID
from finial.core.x509path import verify_x509
from finial.rpc import RpcError, StatusCode
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from support.clock import START
from support.server_app import RunningServer, an_entry, csr, running

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
        (svid_pb.MintX509SVIDRequest(csr=csr(KEY, "spiffe://other.test/x")), "not a member of trust domain"),
        (svid_pb.MintX509SVIDRequest(csr=csr(KEY, "spiffe://example.org")), "path is empty"),
        (
            svid_pb.MintX509SVIDRequest(csr=csr(KEY, "spiffe://example.org/spire/server")),
            "reserved namespace",
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

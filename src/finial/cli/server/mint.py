"""`finial server x509 mint`."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from finial.cli.commands import Command
from finial.cli.inputs import Inputs, seconds
from finial.cli.options import output_option, socket_option
from finial.cli.session import Session, talk
from finial.cli.show import JSON, instant, note, say
from finial.core import pem
from finial.core.ids import SpiffeID
from finial.core.keys import write_private_key
from finial.core.x509svid import X509SVID
from finial.runtime import files
from finial.wire.bundles import read_bundle
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb


@click.command(
    "mint",
    cls=Command,
    examples="""
    finial server x509 mint --spiffe-id spiffe://example.org/backup --write /etc/backup
    finial server x509 mint --spiffe-id spiffe://example.org/web --dns web.example.org --ttl 12h
    """,
)
@socket_option("server")
@click.option("--spiffe-id", metavar="SPIFFE_ID", required=True, help="Whom the SVID is for.")
@click.option("--dns", metavar="NAME", multiple=True, help="A DNS name for the certificate. May be repeated.")
@click.option("--ttl", metavar="DURATION", default="0", help="How long it lives; 0 for the server's default.")
@click.option("--write", metavar="DIR", help="A folder for svid.pem, key.pem and bundle.pem.")
@output_option
def mint(
    *, socket: str, spiffe_id: str, dns: tuple[str, ...], ttl: str, write: str | None, output: str
) -> None:
    """Make an X.509-SVID without a registration entry. Its key is made here and goes nowhere else."""
    inputs = Inputs()
    wanted = inputs.take("--spiffe-id", lambda: SpiffeID(spiffe_id))
    life = inputs.take("--ttl", lambda: seconds(ttl))
    key = ec.generate_private_key(ec.SECP256R1())
    csr = None if wanted is None else inputs.take("--dns", lambda: _request(key, wanted, dns))
    inputs.check()

    async def work(session: Session) -> tuple[X509SVID, list[bytes]]:
        request = svid_pb.MintX509SVIDRequest(csr=csr, ttl=life)
        reply = await session.call(svid_pb.SVID.MintX509SVID, request)
        roots = read_bundle(await session.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest()))
        svid = X509SVID.from_der(list(reply.svid.cert_chain), write_private_key(key))
        return svid, [each.der for each in roots.x509_authorities]

    svid, roots = talk("server", Path(socket), work)
    folder = None if write is None else files.folder(Path(write))
    if folder is not None:
        files.write(folder / "key.pem", svid.key_pem())
        files.write(folder / "svid.pem", svid.chain_pem())
        files.write(folder / "bundle.pem", pem.write(pem.CERTIFICATE, roots))
        ends = instant(int(svid.expires_at.timestamp()))
        note(f"wrote svid.pem, key.pem and bundle.pem into {folder}; the SVID ends at {ends}")
    if output == JSON:
        say(_json(svid, roots))
    elif folder is None:
        say(f"X509-SVID:\n{svid.chain_pem().decode('ascii')}")
        say(f"Private key:\n{svid.key_pem().decode('ascii')}")
        say(f"Root CAs:\n{pem.write(pem.CERTIFICATE, roots).decode('ascii')}")


def _request(key: ec.EllipticCurvePrivateKey, spiffe_id: SpiffeID, names: tuple[str, ...]) -> bytes:
    """A signing request for an ID and DNS names; ValueError for a name that no certificate can hold."""
    alternative = [x509.UniformResourceIdentifier(spiffe_id.text), *map(x509.DNSName, names)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _json(svid: X509SVID, roots: list[bytes]) -> str:
    """The SVID in SPIRE's form: lists of base64."""
    document = {
        "private_key": _base64(svid.key_der()),
        "root_cas": [_base64(each) for each in roots],
        "x509_svid": [_base64(each) for each in svid.chain_der()],
    }
    return json.dumps(document, separators=(",", ":"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

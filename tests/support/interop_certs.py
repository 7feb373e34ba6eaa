"""Authorities and X.509-SVIDs for the interoperability tests, as PEM files that any peer can read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.match import ExactID
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_x509
from finial.rpc import ClientTLS, ServerTLS
from finial.runtime.tls import KeyPair, client_context, server_context

TRUST_DOMAIN = "spiffe://example.test"
SERVER_ID = f"{TRUST_DOMAIN}/server"
CLIENT_ID = f"{TRUST_DOMAIN}/client"
OTHER_ID = f"{TRUST_DOMAIN}/other"

# A span that holds the day of every test run: Go's verifier reads the real clock.
_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_UNTIL = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
_NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Identity:
    """One certificate with its key, in files."""

    spiffe_id: str
    cert: Path
    key: Path

    @property
    def pair(self) -> KeyPair:
        """As our contexts take it."""
        return KeyPair(self.cert.read_bytes(), self.key.read_bytes())


class Authority:
    """A certificate authority.

    Args:
        folder: Where its files go.
        name: What they are called.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _certificate(TRUST_DOMAIN, self._key.public_key(), self._key, ca=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)

    def issue(self, spiffe_id: str) -> Identity:
        """An X.509-SVID."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(spiffe_id, key.public_key(), self._key, ca=False)
        stem = f"{self._name}-{spiffe_id.rpartition('/')[2]}"
        identity = Identity(spiffe_id, self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        identity.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return identity


def _certificate(
    spiffe_id: str, public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIFFE")])
    subject = name if ca else x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIRE")])
    usage = x509.KeyUsage(
        digital_signature=not ca, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        x509.CertificateBuilder(name, subject, public, x509.random_serial_number(), _FROM, _UNTIL)
        .add_extension(usage, critical=True)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]), critical=False
        )
        .sign(signer, hashes.SHA256())
    )


def verifier(root_der: bytes, expected: str) -> Callable[[tuple[bytes, ...]], SpiffeID]:
    """A `verify` for our TLS: the verifier that the product uses, with one authority and one accepted ID."""
    authority = Certificate.parse(root_der)
    domain = TrustDomain.from_name_or_id(TRUST_DOMAIN)
    bundles = BundleSet([Bundle(trust_domain=domain, x509_authorities=(authority,))])
    accept = ExactID(SpiffeID.parse(expected))

    def verify(chain: tuple[bytes, ...]) -> SpiffeID:
        return verify_x509(chain, bundles, now=_NOW, accept=accept).id

    return verify


@dataclass(frozen=True)
class PKI:
    """Everything that the tests present and trust."""

    authority: Authority
    foreign: Authority
    server: Identity
    client: Identity
    other: Identity

    @classmethod
    def make(cls, folder: Path) -> PKI:
        """A fresh one."""
        authority, foreign = Authority(folder, "own"), Authority(folder, "foreign")
        issued = (authority.issue(spiffe_id) for spiffe_id in (SERVER_ID, CLIENT_ID, OTHER_ID))
        return cls(authority, foreign, *issued)

    def verifier(self, expected: str) -> Callable[[tuple[bytes, ...]], SpiffeID]:
        """A `verify` that wants an SVID of our authority with exactly this ID."""
        return verifier(self.authority.der, expected)

    def server_tls(self, *, expect: str = CLIENT_ID) -> ServerTLS:
        """How our server speaks TLS."""
        context = server_context(self.server.pair, [self.authority.der])
        return ServerTLS(lambda: context, self.verifier(expect))

    def client_tls(self, *, show: Identity | None, expect: str = SERVER_ID) -> ClientTLS:
        """How our client speaks TLS; it shows nothing if `show` is None."""
        context = client_context([self.authority.der], None if show is None else show.pair)
        return ClientTLS(lambda: context, self.verifier(expect))

    def go_tls(self, show: Identity | None, expect: str) -> dict[str, str]:
        """How a Go peer speaks TLS."""
        files = {"roots": str(self.authority.path), "expect": expect}
        return files if show is None else files | {"cert": str(show.cert), "key": str(show.key)}

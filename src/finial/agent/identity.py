"""The agent's own identity, and the keys and requests that agents make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from finial.core.ids import SpiffeID
from finial.core.rotation import Lifetime
from finial.core.x509svid import X509SVID
from finial.runtime.tls import KeyPair

# Servers take nothing from a request but its key; this is what agents have always written around it.
_SUBJECT = x509.Name(
    [x509.NameAttribute(NameOID.COUNTRY_NAME, "US"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIRE")]
)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What the agent shows to its server.

    Args:
        svid: With its key.
        reattestable: Whether the node attests again instead of renewing.
    """

    svid: X509SVID
    reattestable: bool

    @property
    def id(self) -> SpiffeID:
        """The agent's ID."""
        return self.svid.id

    @property
    def serial(self) -> int:
        """Tells this SVID of the agent from its earlier and later ones."""
        return self.svid.leaf.serial

    def expired(self, now: datetime) -> bool:
        """Whether it has ended at an instant (aware)."""
        return now >= self.svid.expires_at

    def renew_at(self, spread: float) -> datetime:
        """When to replace it; a random fraction spreads a fleet."""
        return Lifetime(self.svid.leaf.not_before, self.svid.leaf.not_after).renew_at(spread)

    def key_pair(self) -> KeyPair:
        """For TLS."""
        return KeyPair(self.svid.chain_pem(), self.svid.key_pem())


def new_key() -> Key:
    """A key for an SVID of the agent or of a workload: ECDSA on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def make_csr(key: Key, spiffe_id: SpiffeID | None = None) -> bytes:
    """A request for a certificate, in DER.

    Args:
        key: The subject's.
        spiffe_id: A workload's, which may be told; an agent's ID is for the server to say.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(_SUBJECT)
    if spiffe_id is not None:
        name = x509.UniformResourceIdentifier(spiffe_id.text)
        builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

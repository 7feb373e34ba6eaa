"""An X.509-SVID: the chain that proves an ID, and the key of whoever owns it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from finial.core import pem
from finial.core.errors import Finding, KeyRefusedError, X509ParseError
from finial.core.ids import SpiffeID
from finial.core.keys import PrivateKey, public_key_der, read_private_key, write_private_key
from finial.core.reasons import keys as key_reasons
from finial.core.reasons import x509 as reasons
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import INTERMEDIATE, LEAF
from finial.core.x509cert import Certificate, check_count, parse_concatenated


@dataclass(frozen=True, slots=True)
class X509SVID:
    """A chain whose leaf keeps the rules of X.509-SVIDs, optionally with its private key.

    Holding one proves nothing: `verify_x509` does. Two are equal when their chains are.

    Args:
        certificates: The leaf first, then intermediates; at most 16.
        private_key: The leaf's; left out of representation and comparison.
        hint: What the operator calls this SVID among several of one workload.

    Raises:
        X509ParseError: A certificate breaks a rule; the same rules as in verifying.
        KeyRefusedError: The key is not the leaf's.
    """

    certificates: tuple[Certificate, ...]
    private_key: PrivateKey | None = field(default=None, repr=False, compare=False)
    hint: str = ""
    id: SpiffeID = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not self.certificates:
            raise X509ParseError.because(reasons.X509_NO_CERTIFICATE, "an X.509-SVID without a certificate")
        check_count(self.certificates)
        leaf, *others = self.certificates
        findings = LEAF.findings(leaf, Stage.PARSE, "leaf")
        for number, other in enumerate(others, 2):
            findings += INTERMEDIATE.findings(other, Stage.PARSE, f"certificate {number}")
        spiffe_id = leaf.spiffe_id
        if findings or spiffe_id is None:
            raise X509ParseError(findings)
        if self.private_key is not None:
            _check_match(self.private_key, leaf)
        object.__setattr__(self, "id", spiffe_id)

    @classmethod
    def from_der(
        cls, chain: Sequence[bytes] | bytes, key: bytes | None = None, *, hint: str = ""
    ) -> X509SVID:
        """The SVID in DER.

        Args:
            chain: Certificates, the leaf first; or all of them concatenated, as the Workload API has it.
            key: Unencrypted PKCS#8.
            hint: See the class.

        Raises:
            X509ParseError: A certificate cannot be read or breaks a rule.
            KeyRefusedError: The key cannot be read, is not accepted, or is not the leaf's.
        """
        if isinstance(chain, bytes):
            certificates = parse_concatenated(chain)
        else:
            check_count(chain)
            certificates = tuple(Certificate.parse(der, f"certificate {n}") for n, der in enumerate(chain, 1))
        return cls(certificates, None if key is None else read_private_key(key), hint)

    @classmethod
    def from_pem(cls, chain: bytes, key: bytes | None = None, *, hint: str = "") -> X509SVID:
        """The SVID in PEM; both may be the same text.

        Args:
            chain: CERTIFICATE blocks, the leaf first.
            key: One PRIVATE KEY block.
            hint: See the class.

        Raises:
            PEMError: The text cannot be read, or a block is missing.
            X509ParseError: A certificate cannot be read or breaks a rule.
            KeyRefusedError: The key cannot be read, is not accepted, or is not the leaf's.
        """
        ders = pem.read_certificates(chain)
        return cls.from_der(ders, None if key is None else pem.read_private_key(key), hint=hint)

    @property
    def leaf(self) -> Certificate:
        """The certificate that names the ID."""
        return self.certificates[0]

    @property
    def expires_at(self) -> datetime:
        """When the leaf ends."""
        return self.leaf.not_after

    def chain_der(self) -> tuple[bytes, ...]:
        """The certificates in DER, the leaf first."""
        return tuple(certificate.der for certificate in self.certificates)

    def chain_pem(self) -> bytes:
        """The certificates in PEM, the leaf first."""
        return pem.write(pem.CERTIFICATE, self.chain_der())

    def key_der(self) -> bytes:
        """The private key as unencrypted PKCS#8.

        Raises:
            KeyRefusedError: The SVID was made without it.
        """
        if self.private_key is None:
            raise KeyRefusedError.because(key_reasons.KEY_MISMATCH, "the X.509-SVID is held without its key")
        return write_private_key(self.private_key)

    def key_pem(self) -> bytes:
        """The private key as a PEM block of unencrypted PKCS#8; raises as `key_der`."""
        return pem.write(pem.PRIVATE_KEY, [self.key_der()])


def _check_match(key: PrivateKey, leaf: Certificate) -> None:
    if leaf.key is None or public_key_der(key.public_key()) != public_key_der(leaf.key):
        message = "the private key is not the one that the leaf was issued for"
        raise KeyRefusedError([Finding(key_reasons.KEY_MISMATCH, message, "leaf")])

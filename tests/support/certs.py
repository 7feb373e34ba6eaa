"""Throw-away authorities and leaves for tests that speak TLS."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import ClientTLS, ServerTLS
from finial.runtime.tls import KeyPair, client_context, server_context

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_WRONG = Reason("test-wrong-identity", Kind.UNTRUSTED)


def _usage(*names: str) -> x509.KeyUsage:
    fields = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in names for name in fields})


@dataclass
class Authority:
    """A self-signed authority of one trust domain."""

    domain: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.domain)])
        builder = self._builder(name, name, self.key.public_key(), f"spiffe://{self.domain}")
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, uri: str
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=1))
            .not_valid_after(NOW + dt.timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        )

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def leaf(self, path: str, *, domain: str = "") -> KeyPair:
        """A leaf for `spiffe://<domain><path>` with its key; for another domain it is a forgery."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "leaf")])
        uri = f"spiffe://{domain or self.domain}{path}"
        builder = self._builder(subject, self.certificate.subject, key.public_key(), uri)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage("digital_signature", "key_encipherment"), critical=True)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), private)


def beyond_openssl(der: bytes) -> bytes:
    """A certificate with a byte in its subject's organisation that is no UTF-8: OpenSSL does not read it."""
    tag = b"\x06\x03\x55\x04\x0a\x0c"  # organizationName, a UTF8String
    at = der.rindex(tag) + len(tag) + 1
    return der[:at] + b"\xa5" + der[at + 1 :]


def uri_of(chain: tuple[bytes, ...]) -> str:
    """The URI SAN of a chain's leaf."""
    names = x509.load_der_x509_certificate(chain[0]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)[0]


@dataclass
class Expect:
    """A verify callback that wants one URI and keeps what it saw."""

    uri: str
    seen: list[str] = field(default_factory=list)

    def __call__(self, chain: tuple[bytes, ...]) -> str:
        uri = uri_of(chain)
        self.seen.append(uri)
        if uri != self.uri:
            raise FinialError(_WRONG, f"wanted {self.uri}, got {uri}")
        return uri


def server_tls(authority: Authority, *, path: str = "/server", client: str = "/client") -> ServerTLS:
    """TLS for a server of a domain that wants one client of the same domain."""
    context = server_context(authority.leaf(path), [authority.der])
    return ServerTLS(lambda: context, Expect(f"spiffe://{authority.domain}{client}"))


def client_tls(authority: Authority, *, path: str | None = "/client", server: str = "/server") -> ClientTLS:
    """TLS for a client of a domain (anonymous for None) that wants one server of the same domain."""
    identity = None if path is None else authority.leaf(path)
    context = client_context([authority.der], identity)
    return ClientTLS(lambda: context, Expect(f"spiffe://{authority.domain}{server}"))

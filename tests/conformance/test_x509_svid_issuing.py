"""The X.509-SVID standard, as far as it binds who issues and who publishes."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import write_bundle
from finial.core.csr import read_csr
from finial.core.errors import CSRError, FinialError, IssueError
from finial.core.ids import SpiffeID
from finial.core.keys import PublicKey, public_key_der, write_private_key
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY, LEAF
from finial.core.x509_profile import (
    CARequest,
    Issuer,
    Order,
    SVIDRequest,
    check_svid,
    issue_downstream,
    issue_root,
    issue_svid,
)
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_x509
from finial.core.x509svid import X509SVID
from support import forge

KINDS = ["ec-p256", "ec-p384", "ec-p521", "rsa-2048", "ed25519"]
ORDER = Order(now=forge.NOW, serial=99, ttl=forge.DAY)
ROOT_KEY = forge.key("profile root")


def root(**settings: object) -> Issuer:
    request = CARequest(trust_domain=forge.A, public_key=ROOT_KEY.public_key(), **settings)  # type: ignore[arg-type]
    return Issuer(forge.A, issue_root(request, ORDER, key=ROOT_KEY))


def svid(uri: str = forge.WEB, kind: str = "ec-p256", **settings: object) -> Certificate:
    public_key = forge.key("subject", kind).public_key()
    request = SVIDRequest(spiffe_id=SpiffeID(uri), public_key=public_key, **settings)  # type: ignore[arg-type]
    return issue_svid(request, root(), ORDER, key=ROOT_KEY)


def downstream(public_key: PublicKey | None = None) -> Certificate:
    request = CARequest(trust_domain=forge.A, public_key=public_key or forge.key("down").public_key())
    return issue_downstream(request, root(), ORDER, key=ROOT_KEY)


def entries(*authorities: Certificate) -> list[dict[str, object]]:
    bundle = Bundle(trust_domain=forge.A, x509_authorities=authorities)
    found: list[dict[str, object]] = json.loads(write_bundle(bundle))["keys"]
    return found


def issue_findings(made: forge.Made, *, ca: bool = False) -> set[str]:
    table = AUTHORITY if ca else LEAF
    return {finding.reason.id for finding in table.findings(made.certificate, Stage.ISSUE)}


@pytest.mark.spec("X509-01")
def test_a_leaf_has_exactly_the_id_as_its_uri() -> None:
    assert svid().names.uris == (forge.WEB,)


@pytest.mark.spec("X509-04")
def test_dns_names_may_stand_beside_it() -> None:
    made = svid(dns_names=("one.test", "two.test"))
    assert made.names.uris == (forge.WEB,)
    assert made.names.dns == ("one.test", "two.test")
    assert not LEAF.findings(made, Stage.VERIFY)


@pytest.mark.spec("X509-06", "X509-39")
def test_no_leaf_for_a_trust_domain_id() -> None:
    with pytest.raises(IssueError) as caught:
        svid("spiffe://a.test")
    assert caught.value.reason.id == "x509-root-id"


@pytest.mark.spec("X509-07", "X509-08")
def test_names_are_critical_exactly_when_the_subject_is_empty() -> None:
    empty = svid(subject=x509.Name([]))
    assert empty.subject == b"\x30\x00"
    assert empty.names.critical
    assert not svid().names.critical
    bad = forge.leaf(forge.root(), common_name="", own_key=forge.key())
    assert "x509-names-critical" in issue_findings(bad)


@pytest.mark.spec("X509-09", "X509-18", "X509-25", "X509-54", "X509-55")
def test_signing_certificates_say_that_they_sign() -> None:
    for made in (root().certificate, downstream()):
        assert made.basic_constraints is not None
        assert made.basic_constraints.ca
        assert made.key_usage is not None
        assert "keyCertSign" in made.key_usage.bits
    assert "x509-not-ca" in issue_findings(forge.root(ca=None), ca=True)
    assert "x509-not-ca" in issue_findings(forge.root(ca=False), ca=True)
    assert "x509-ca-key-usage" in issue_findings(forge.root(usages=("cRLSign",)), ca=True)


@pytest.mark.spec("X509-10", "X509-12", "X509-13")
def test_signing_certificates_are_svids_of_their_trust_domain() -> None:
    for made in (root().certificate, downstream()):
        assert made.names.uris == ("spiffe://a.test",)
    for uris in ([], ["spiffe://a.test/ca"], ["spiffe://a.test/"], ["spiffe://a.test", "spiffe://b.test"]):
        assert "x509-ca-id" in issue_findings(forge.root(uris=uris), ca=True)
    request = CARequest(trust_domain=forge.B, public_key=forge.key().public_key())
    with pytest.raises(IssueError) as caught:
        issue_downstream(request, root(), ORDER, key=ROOT_KEY)
    assert caught.value.reason.id == "issue-foreign-subject"


@pytest.mark.spec("X509-14", "X509-16")
def test_a_chain_of_signing_certificates_validates() -> None:
    first = root()
    down_key = forge.key("down")
    second = Issuer(forge.A, downstream(down_key.public_key()), chain_length=2)
    request = SVIDRequest(spiffe_id=SpiffeID(forge.WEB), public_key=forge.key().public_key())
    made = issue_svid(request, second, ORDER, key=down_key)
    bundles = BundleSet([Bundle(trust_domain=forge.A, x509_authorities=(first.certificate,))])
    proven = verify_x509([made.der, second.certificate.der], bundles, now=forge.NOW)
    assert proven.path == (made, second.certificate, first.certificate)


@pytest.mark.spec("X509-17")
def test_a_path_length_can_be_set_and_is_kept_when_issuing() -> None:
    with pytest.raises(IssueError) as caught:
        issue_downstream(
            CARequest(trust_domain=forge.A, public_key=forge.key().public_key()),
            root(path_length=0),
            ORDER,
            key=ROOT_KEY,
        )
    assert caught.value.reason.id == "issue-path-length"


@pytest.mark.spec("X509-19")
def test_a_leaf_says_that_it_is_no_signing_certificate() -> None:
    made = svid()
    assert made.basic_constraints is not None
    assert not made.basic_constraints.ca
    assert "x509-leaf-basic-constraints" in issue_findings(forge.leaf(forge.root(), ca=None))


@pytest.mark.spec("X509-21")
def test_a_leaf_has_no_name_constraints() -> None:
    assert svid().name_constraints is None
    bad = forge.leaf(forge.root(), constraints=forge.constraints([x509.DNSName("a.test")]))
    assert "x509-leaf-name-constraints" in issue_findings(bad)


@pytest.mark.spec("X509-22", "X509-57")
def test_a_signing_certificate_can_be_constrained_to_its_trust_domain() -> None:
    assert root().certificate.name_constraints is None
    constrained = root(constrained=True).certificate
    extension = x509.load_der_x509_certificate(constrained.der).extensions.get_extension_for_class(
        x509.NameConstraints
    )
    assert extension.critical
    assert extension.value.permitted_subtrees == [x509.UniformResourceIdentifier("a.test")]


@pytest.mark.spec("X509-23", "X509-24")
def test_key_usage_is_there_and_critical() -> None:
    for made in (root().certificate, downstream(), svid()):
        assert made.key_usage is not None
        assert made.key_usage.critical
    for changes in ({"usages": None}, {"usage_critical": False}):
        assert "x509-key-usage-critical" in issue_findings(forge.leaf(forge.root(), **changes))
        assert "x509-key-usage-critical" in issue_findings(forge.root(**changes), ca=True)


@pytest.mark.spec("X509-26", "X509-56")
def test_signing_certificates_carry_exactly_their_usages() -> None:
    for made in (root().certificate, downstream()):
        assert made.key_usage is not None
        assert made.key_usage.bits == {"keyCertSign", "cRLSign"}
    assert not issue_findings(forge.root(usages=("keyCertSign",)), ca=True)
    extra = forge.root(usages=("keyCertSign", "digitalSignature"))
    assert issue_findings(extra, ca=True) == {"x509-ca-key-usage-extra"}


@pytest.mark.spec("X509-27", "X509-28", "X509-56")
@pytest.mark.parametrize("kind", KINDS)
def test_a_leaf_may_sign_with_every_type_of_key(kind: str) -> None:
    made = svid(kind=kind)
    assert made.key_usage is not None
    assert made.key_usage.bits == {"digitalSignature", "keyEncipherment", "keyAgreement"}


@pytest.mark.spec("X509-29", "X509-55")
@pytest.mark.parametrize("usage", ["keyCertSign", "cRLSign"])
def test_a_leaf_that_signs_never_leaves_the_authority(usage: str) -> None:
    issuer = root()
    authority = forge.Made(issuer.certificate.der, ROOT_KEY)
    bad = forge.leaf(authority, usages=("digitalSignature", usage))
    request = SVIDRequest(spiffe_id=SpiffeID(forge.WEB), public_key=bad.key.public_key())
    with pytest.raises(IssueError) as caught:
        check_svid(bad.certificate, request, issuer)
    assert caught.value.reason.id == "x509-leaf-signs"


@pytest.mark.spec("X509-30", "X509-31", "X509-32")
def test_a_leaf_serves_both_ends_of_tls() -> None:
    assert svid().extended_key_usage == frozenset({"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"})
    for purposes in (None, [ExtendedKeyUsageOID.CLIENT_AUTH], [ExtendedKeyUsageOID.SERVER_AUTH]):
        bad = forge.leaf(forge.root(), purposes=purposes)
        assert issue_findings(bad) == {"x509-leaf-extended-key-usage"}


@pytest.mark.spec("X509-33")
def test_own_signing_certificates_have_no_extended_key_usage() -> None:
    assert root().certificate.extended_key_usage is None
    assert downstream().extended_key_usage is None


@pytest.mark.spec("X509-42", "X509-43", "X509-44", "BUNDLE-24", "BUNDLE-25")
def test_each_authority_is_one_entry_without_a_key_id() -> None:
    found = entries(root().certificate, forge.root("second").certificate)
    assert [entry["use"] for entry in found] == ["x509-svid", "x509-svid"]
    assert all("kid" not in entry for entry in found)


@pytest.mark.spec("X509-45", "X509-46")
def test_an_entry_holds_one_certificate_in_plain_base64() -> None:
    made = downstream()
    (entry,) = entries(made)
    assert isinstance(entry["x5c"], list)
    (text,) = entry["x5c"]
    assert base64.b64decode(text, validate=True) == made.der
    assert len(text) % 4 == 0


@pytest.mark.spec("X509-47")
def test_a_published_root_is_self_signed() -> None:
    assert root().certificate.self_issued


@pytest.mark.spec("X509-48")
@pytest.mark.parametrize("kind", KINDS)
def test_the_parameters_describe_the_certificates_key(kind: str) -> None:
    own_key = forge.key("published", kind)
    (entry,) = entries(forge.root(own_key=own_key).certificate)

    def number(name: str) -> int:
        text = str(entry[name])
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

    public_key = own_key.public_key()
    match public_key:
        case ec.EllipticCurvePublicKey():
            numbers = public_key.public_numbers()
            assert (entry["kty"], number("x"), number("y")) == ("EC", numbers.x, numbers.y)
            assert entry["crv"] == {256: "P-256", 384: "P-384", 521: "P-521"}[public_key.curve.key_size]
        case rsa.RSAPublicKey():
            assert (entry["kty"], number("n")) == ("RSA", public_key.public_numbers().n)
            assert entry["e"] == "AQAB"
        case _:
            assert (entry["kty"], entry["crv"]) == ("OKP", "Ed25519")
            assert number("x") == int.from_bytes(public_key_der(public_key)[-32:], "big")


@pytest.mark.spec("ID-39")
def test_a_key_stays_with_its_owner() -> None:
    held = X509SVID.from_der([svid(kind="ec-p256").der], write_private_key(forge.key("subject")))
    assert held.private_key is not None
    assert "private_key" not in repr(held)
    with pytest.raises(FinialError) as caught:
        X509SVID.from_der([svid().der], write_private_key(forge.key("thief")))
    assert caught.value.reason.id == "key-mismatch"


@pytest.mark.spec("ID-45")
def test_a_request_gives_nothing_but_its_key() -> None:
    key = forge.key("asks")
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(forge.name("admin"))
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(forge.key_usage("keyCertSign"), True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://a.test/admin")]), False
        )
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = greedy.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    asked = read_csr(der)
    made = issue_svid(
        SVIDRequest(spiffe_id=SpiffeID(forge.WEB), public_key=asked), root(), ORDER, key=ROOT_KEY
    )
    assert made.names.uris == (forge.WEB,)
    assert made.basic_constraints is not None
    assert not made.basic_constraints.ca
    with pytest.raises(CSRError):
        read_csr(forge.flipped(der, len(der) - 1))

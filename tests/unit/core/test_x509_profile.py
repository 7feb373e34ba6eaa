from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from finial.core import pem
from finial.core.errors import IssueError, KeyRefusedError
from finial.core.ids import SpiffeID
from finial.core.x509_profile import (
    CARequest,
    Issuer,
    Order,
    SVIDRequest,
    ca_csr_builder,
    check_downstream,
    check_svid,
    issue_downstream,
    issue_root,
    issue_svid,
)
from finial.core.x509cert import Certificate
from support import forge

CA_KEY, DOWN_KEY, KEY = forge.key("profile ca"), forge.key("profile down"), forge.key("profile leaf")
HOUR = timedelta(hours=1)
OPENSSL = shutil.which("openssl")


def order(**changes: object) -> Order:
    settings: dict[str, object] = {"now": forge.NOW, "serial": 5, "ttl": HOUR, **changes}
    return Order(**settings)  # type: ignore[arg-type]


def root(ttl: timedelta = 24 * HOUR, **changes: object) -> Issuer:
    request = CARequest(trust_domain=forge.A, public_key=CA_KEY.public_key(), **changes)  # type: ignore[arg-type]
    return Issuer(forge.A, issue_root(request, order(ttl=ttl, serial=123456), key=CA_KEY))


def wanted(**changes: object) -> SVIDRequest:
    settings: dict[str, object] = {
        "spiffe_id": SpiffeID(forge.WEB),
        "public_key": KEY.public_key(),
        **changes,
    }
    return SVIDRequest(**settings)  # type: ignore[arg-type]


def down(**changes: object) -> CARequest:
    settings: dict[str, object] = {"trust_domain": forge.A, "public_key": DOWN_KEY.public_key(), **changes}
    return CARequest(**settings)  # type: ignore[arg-type]


def parsed(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)


def reasons(call: object, *arguments: object, **settings: object) -> list[str]:
    with pytest.raises(IssueError) as caught:
        call(*arguments, **settings)  # type: ignore[operator]
    return [finding.reason.id for finding in caught.value.findings]


class TestSVID:
    def test_the_profile(self) -> None:
        made = issue_svid(wanted(dns_names=("one.test", "two.test")), root(), order(), key=CA_KEY)
        view = parsed(made)
        assert view.subject.rfc4514_string() == "CN=one.test,O=SPIRE,C=US"
        assert view.serial_number == 5
        assert made.not_before == forge.NOW - timedelta(seconds=10)
        assert made.not_after == forge.NOW + HOUR
        assert [(extension.oid._name, extension.critical) for extension in view.extensions] == [
            ("keyUsage", True),
            ("extendedKeyUsage", False),
            ("basicConstraints", True),
            ("subjectKeyIdentifier", False),
            ("authorityKeyIdentifier", False),
            ("subjectAltName", False),
        ]
        names = view.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [name.value for name in names] == ["one.test", "two.test", forge.WEB]

    def test_a_long_dns_name_is_no_common_name(self) -> None:
        name = "x" * 63 + ".test"
        made = issue_svid(wanted(dns_names=(name,)), root(), order(), key=CA_KEY)
        assert made.names.dns == (name,)
        assert parsed(made).subject.get_attributes_for_oid(NameOID.COMMON_NAME) == []

    def test_it_never_outlives_or_precedes_its_issuer(self) -> None:
        made = issue_svid(wanted(), root(), order(ttl=100 * HOUR), key=CA_KEY)
        assert made.not_after == forge.NOW + 24 * HOUR
        young = Issuer(forge.A, forge.root(own_key=CA_KEY, not_before=forge.NOW).certificate)
        assert issue_svid(wanted(), young, order(), key=CA_KEY).not_before == forge.NOW

    def test_fractions_of_a_second_are_cut(self) -> None:
        moment = forge.NOW + timedelta(microseconds=999_999)
        assert issue_svid(wanted(), root(), order(now=moment), key=CA_KEY).not_after == forge.NOW + HOUR

    def test_every_fault_of_an_order_is_named(self) -> None:
        request = wanted(spiffe_id=SpiffeID("spiffe://b.test"), dns_names=("bad.",))
        bad = order(serial=0, ttl=timedelta(0), now=forge.NOW + 100 * HOUR)
        assert reasons(issue_svid, request, root(), bad, key=CA_KEY) == [
            "issue-foreign-subject",
            "issue-dns-name",
            "x509-root-id",
            "issue-serial",
            "issue-ttl",
            "issue-authority-expired",
        ]

    @pytest.mark.parametrize("serial", [0, -1, 2**128])
    def test_serial_numbers_out_of_range(self, serial: int) -> None:
        assert reasons(issue_svid, wanted(), root(), order(serial=serial), key=CA_KEY) == ["issue-serial"]

    def test_the_largest_serial_number(self) -> None:
        assert issue_svid(wanted(), root(), order(serial=2**128 - 1), key=CA_KEY).serial == 2**128 - 1

    def test_a_weak_key_gets_no_certificate(self) -> None:
        with pytest.raises(KeyRefusedError):
            issue_svid(
                wanted(public_key=forge.key("w", "rsa-1024").public_key()), root(), order(), key=CA_KEY
            )

    def test_the_wrong_signing_key_is_noticed(self) -> None:
        assert reasons(issue_svid, wanted(), root(), order(), key=DOWN_KEY) == ["issue-key"]

    def test_what_cannot_be_built(self) -> None:
        class Broken:
            pass

        assert reasons(issue_svid, wanted(), root(), order(), key=Broken()) == ["issue-mismatch"]

    def test_a_certificate_that_says_something_else_is_caught(self) -> None:
        issuer = root()
        ca = forge.Made(issuer.certificate.der, CA_KEY)
        more = forge.leaf(ca, own_key=KEY, others=[x509.RFC822Name("a@a.test")]).certificate
        other = forge.leaf(ca, "spiffe://a.test/other", own_key=KEY).certificate
        for wrong in (more, other):
            assert "issue-mismatch" in reasons(check_svid, wrong, wanted(), issuer)
        stranger = forge.leaf(ca).certificate
        assert reasons(check_svid, stranger, wanted(), issuer) == ["issue-mismatch"]
        longer = forge.leaf(ca, own_key=KEY, not_after=forge.NOW + 99 * forge.DAY).certificate
        assert reasons(check_svid, longer, wanted(), issuer) == ["issue-mismatch"]

    def test_a_constrained_authority_keeps_to_its_constraints(self) -> None:
        issuer = root(constrained=True)
        assert issue_svid(wanted(), issuer, order(), key=CA_KEY).names.uris == (forge.WEB,)
        bound = forge.root(
            own_key=CA_KEY, constraints=forge.constraints([x509.UniformResourceIdentifier("b.test")])
        )
        found = reasons(issue_svid, wanted(), Issuer(forge.A, bound.certificate), order(), key=CA_KEY)
        assert found == ["x509-name-constraint"]

    def test_an_issuer_without_key_id(self) -> None:
        plain = Issuer(forge.A, forge.root(own_key=CA_KEY, identified=False).certificate)
        assert issue_svid(wanted(), plain, order(), key=CA_KEY).authority_key_id is None


class TestRoot:
    def test_the_profile(self) -> None:
        made = root().certificate
        view = parsed(made)
        assert view.subject == view.issuer
        assert view.subject.rfc4514_string() == "2.5.4.5=123456,O=SPIFFE,C=US"
        assert [(extension.oid._name, extension.critical) for extension in view.extensions] == [
            ("keyUsage", True),
            ("basicConstraints", True),
            ("subjectKeyIdentifier", False),
            ("subjectAltName", False),
        ]
        assert made.basic_constraints is not None
        assert made.basic_constraints.path_length is None

    def test_a_subject_of_its_own_keeps_the_serial_number(self) -> None:
        view = parsed(root(subject=forge.name("Acme")).certificate)
        assert view.subject.rfc4514_string() == "2.5.4.5=123456,CN=Acme"

    def test_what_is_refused(self) -> None:
        request = CARequest(trust_domain=forge.A, public_key=CA_KEY.public_key())
        assert reasons(issue_root, request, order(serial=0), key=CA_KEY) == ["issue-serial"]
        assert reasons(issue_root, request, order(), key=DOWN_KEY) == ["issue-key"]


class TestDownstream:
    def test_the_profile(self) -> None:
        issuer = root()
        made = issue_downstream(down(), issuer, order(), key=CA_KEY)
        assert parsed(made).subject.rfc4514_string() == "2.5.4.5=123456,OU=DOWNSTREAM-1,O=SPIFFE,C=US"
        assert made.authority_key_id == issuer.certificate.subject_key_id
        own = issue_downstream(down(subject=forge.name("own")), issuer, order(), key=CA_KEY)
        assert parsed(own).subject == forge.name("own")

    def test_what_is_refused(self) -> None:
        strict = root(path_length=0)
        assert reasons(issue_downstream, down(), strict, order(), key=CA_KEY) == ["issue-path-length"]
        foreign = down(trust_domain=forge.B)
        assert reasons(issue_downstream, foreign, root(), order(), key=CA_KEY) == ["issue-foreign-subject"]
        weak = down(public_key=forge.key("w", "rsa-1024").public_key())
        with pytest.raises(KeyRefusedError):
            issue_downstream(weak, root(), order(), key=CA_KEY)

    def test_a_certificate_that_says_something_else_is_caught(self) -> None:
        issuer = root()
        made = issue_downstream(down(path_length=1), issuer, order(), key=CA_KEY)
        assert reasons(check_downstream, made, down(), issuer) == ["issue-mismatch"]


def test_the_request_to_an_upstream_authority() -> None:
    request = ca_csr_builder(down(), 77).sign(DOWN_KEY, hashes.SHA256())
    assert request.subject.rfc4514_string() == "2.5.4.5=77,O=SPIFFE,C=US"
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["spiffe://a.test"]


def test_an_issuer_whose_name_cannot_be_read() -> None:
    attribute = forge.tlv(0x30, forge.oid("2.5.4.3"), forge.tlv(0x0C, b"\xff\xfe"))
    made = forge.root()
    bad = forge.rebuild(made, made, {5: forge.tlv(0x30, forge.tlv(0x31, attribute))}).certificate
    assert reasons(Issuer, forge.A, bad) == ["issue-mismatch"]


@pytest.mark.skipif(OPENSSL is None, reason="the openssl program is not installed")
@pytest.mark.parametrize("constrained", [False, True])
def test_openssl_agrees_in_its_strict_mode(tmp_path: Path, constrained: bool) -> None:
    assert OPENSSL is not None
    issuer = root(constrained=constrained)
    below = Issuer(forge.A, issue_downstream(down(), issuer, order(), key=CA_KEY), chain_length=2)
    made = issue_svid(wanted(dns_names=("one.test",)), below, order(), key=DOWN_KEY)
    for name, certificate in (("root", issuer.certificate), ("down", below.certificate), ("leaf", made)):
        (tmp_path / name).write_bytes(pem.write(pem.CERTIFICATE, [certificate.der]))
    moment = str(int(forge.NOW.timestamp()))
    command = [OPENSSL, "verify", "-x509_strict", "-attime", moment, "-purpose", "sslserver"]
    arguments = ["-CAfile", "root", "-untrusted", "down", "leaf"]
    done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "leaf: OK\n", done.stderr
    shown = subprocess.run(
        [OPENSSL, "x509", "-in", "leaf", "-noout", "-ext", "subjectAltName"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"URI:{forge.WEB}" in shown.stdout

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509

from finial.core.errors import X509ParseError
from finial.core.x509_names import names_of, unevaluable, violation, within
from finial.core.x509cert import NameConstraints
from support import forge

URI, DNS, MAIL = x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name


def address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))


def directory(*names: str) -> x509.DirectoryName:
    oid = x509.NameOID.ORGANIZATION_NAME
    return x509.DirectoryName(x509.Name([x509.NameAttribute(oid, name) for name in names]))


def constraints(
    permitted: tuple[x509.GeneralName, ...] = (),
    excluded: tuple[x509.GeneralName, ...] = (),
    *,
    plain: bool = True,
) -> NameConstraints:
    return NameConstraints(permitted, excluded, plain)


@pytest.mark.parametrize(
    ("name", "subtree", "inside"),
    [
        (URI("spiffe://a.test/x"), URI("a.test"), True),
        (URI("spiffe://a.test"), URI("A.TEST"), True),
        (URI("spiffe://b.a.test/x"), URI("a.test"), False),
        (URI("spiffe://b.a.test/x"), URI(".a.test"), True),
        (URI("spiffe://a.test/x"), URI(".a.test"), False),
        (URI("spiffe://.a.test/x"), URI(".a.test"), False),
        (URI("spiffe://nota.test/x"), URI("a.test"), False),
        (URI("spiffe://10.0.0.1/x"), URI("10.0.0.1"), True),
        (URI("https://u@a.test:443/x"), URI("a.test"), True),
        (URI("urn:a.test"), URI("a.test"), False),
        (DNS("a.test"), DNS("a.test"), True),
        (DNS("b.a.test"), DNS("A.test"), True),
        (DNS("nota.test"), DNS("a.test"), False),
        (DNS("b.a.test"), DNS(".a.test"), True),
        (DNS("a.test"), DNS(".a.test"), False),
        (DNS("anything"), DNS(""), True),
        (MAIL("u@a.test"), MAIL("a.test"), True),
        (MAIL("u@a.test"), MAIL("u@a.test"), True),
        (MAIL("v@a.test"), MAIL("u@a.test"), False),
        (MAIL("u@b.a.test"), MAIL(".a.test"), True),
        (MAIL("u@b.a.test"), MAIL("a.test"), False),
        (address("10.0.0.1"), address("10.0.0.0/8"), True),
        (address("11.0.0.1"), address("10.0.0.0/8"), False),
        (address("::1"), address("10.0.0.0/8"), False),
        (address("10.0.0.1"), address("10.0.0.1"), False),
        (directory("One", "Two"), directory("one"), True),
        (directory("One"), directory("One", "Two"), False),
        (directory("One  Two"), directory("one two"), True),
        (DNS("a.test"), URI("a.test"), False),
    ],
)
def test_within(name: x509.GeneralName, subtree: x509.GeneralName, inside: bool) -> None:
    assert within(name, subtree) is inside


def test_permitted_and_excluded() -> None:
    name = URI("spiffe://a.test/x")
    assert violation(name, constraints()) == ""
    assert violation(name, constraints((DNS("b.test"),), (DNS("a.test"),))) == ""
    assert violation(name, constraints((URI("b.test"), URI("a.test")))) == ""
    assert violation(name, constraints((), (URI("b.test"),))) == ""
    assert "not among" in violation(name, constraints((URI("b.test"),)))
    assert "excluded" in violation(name, constraints((URI("a.test"),), (URI("a.test"),)))


def test_a_uri_without_host_fails_closed() -> None:
    assert "no host" in violation(URI("urn:x"), constraints((), (URI("a.test"),)))


def test_a_wildcard_is_excluded_with_any_name_that_it_covers() -> None:
    assert violation(DNS("*.a.test"), constraints((), (DNS("b.a.test"),)))
    assert not violation(DNS("*.a.test"), constraints((), (DNS("b.test"),)))
    assert not violation(DNS("c.a.test"), constraints((), (DNS("b.a.test"),)))


@pytest.mark.parametrize(
    "subtree",
    [
        URI("spiffe://a.test"),
        URI("a.test:443"),
        URI(""),
        DNS("https://a.test"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
    ],
)
def test_what_cannot_be_evaluated(subtree: x509.GeneralName) -> None:
    assert unevaluable(constraints((subtree,)))
    assert unevaluable(constraints((), (subtree,)))


def test_what_can_be_evaluated() -> None:
    good = (URI("a.test"), URI(".a.test"), DNS(""), MAIL("x"), address("10.0.0.0/8"), directory("x"))
    assert unevaluable(constraints(good, good)) == ""
    assert "minimum" in unevaluable(constraints(good, plain=False))


def test_the_subject_counts_only_where_it_matters() -> None:
    made = forge.leaf(forge.root()).certificate
    assert len(names_of(made, subject=False)) == 1
    assert isinstance(names_of(made, subject=True)[1], x509.DirectoryName)
    nameless = forge.leaf(forge.root(), common_name="", own_key=forge.key()).certificate
    assert len(names_of(nameless, subject=True)) == 1


def test_a_subject_that_cannot_be_read() -> None:
    root = forge.root()
    attribute = forge.tlv(0x30, forge.oid("2.5.4.3"), forge.tlv(0x0C, b"\xff\xfe"))
    bad = forge.rebuild(forge.leaf(root), root, {5: forge.tlv(0x30, forge.tlv(0x31, attribute))}).certificate
    with pytest.raises(X509ParseError) as caught:
        names_of(bad, subject=True)
    assert caught.value.reason.id == "x509-malformed"

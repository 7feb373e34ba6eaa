from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from finial.core.errors import X509ParseError
from finial.core.x509cert import MAX_CERTIFICATE_BYTES, Certificate, parse_concatenated
from support import forge

ROOT = forge.root()
LEAF = forge.leaf(ROOT, others=[x509.DNSName("a.test")])


def reason(der: bytes) -> str:
    with pytest.raises(X509ParseError) as caught:
        Certificate.parse(der, "certificate 3")
    assert caught.value.findings[0].where == "certificate 3"
    return caught.value.reason.id


def test_the_facts() -> None:
    made, root = LEAF.certificate, ROOT.certificate
    assert made.issuer == root.subject
    assert not made.self_issued
    assert root.self_issued
    assert made.names.uris == (forge.WEB,)
    assert made.names.dns == ("a.test",)
    assert made.not_after == forge.NOW + forge.DAY
    assert made.authority_key_id == root.subject_key_id
    assert made.unknown_critical == ()
    assert made.signed_by(ROOT.key.public_key())
    assert not made.signed_by(LEAF.key.public_key())


def test_equality_is_by_bytes() -> None:
    assert LEAF.certificate == LEAF.certificate
    assert LEAF.certificate != ROOT.certificate
    assert LEAF.certificate != LEAF.der
    assert len({LEAF.certificate, LEAF.certificate}) == 1


def test_representation() -> None:
    assert repr(LEAF.certificate).startswith("Certificate('spiffe://a.test/web', serial ")
    assert "no URI" in repr(forge.root(uris=[]).certificate)


def test_what_cannot_be_read() -> None:
    assert reason(b"") == "x509-malformed"
    assert reason(b"\x30\x00") == "x509-malformed"
    assert reason(LEAF.der + b"\0") == "x509-malformed"
    assert reason(LEAF.der[:-1]) == "x509-malformed"
    assert reason(b"\x30" * (MAX_CERTIFICATE_BYTES + 1)) == "x509-large"


def test_an_extension_that_stands_twice() -> None:
    usage = next(iter(forge.raw_extensions(LEAF).values()))
    twice = forge.tlv(0xA3, forge.tlv(0x30, usage, usage))
    assert reason(forge.rebuild(LEAF, ROOT, {7: twice}).der) == "x509-malformed"


@pytest.mark.parametrize("serial", [b"\x00", b"\xff", b"\x80"])
def test_a_serial_number_is_positive(serial: bytes) -> None:
    assert reason(forge.rebuild(LEAF, ROOT, {1: forge.tlv(0x02, serial)}).der) == "x509-serial"


def test_a_certificate_of_version_one_has_no_extensions() -> None:
    plain = forge.rebuild(LEAF, ROOT, {0: b"", 7: b""}).certificate
    assert plain.names.uris == ()
    assert plain.key_usage is None
    assert plain.basic_constraints is None


def test_algorithms_inside_and_outside_have_to_agree() -> None:
    assert LEAF.certificate.signature_sound
    assert not forge.rebuild(LEAF, ROOT, {2: forge.SHA224_ECDSA}).certificate.signature_sound


@pytest.mark.parametrize("algorithm", [forge.SHA1_ECDSA, forge.SHA224_ECDSA, forge.UNKNOWN_ALGORITHM])
def test_old_and_unknown_algorithms(algorithm: bytes) -> None:
    made = forge.rebuild(LEAF, ROOT, {2: algorithm}, algorithm=algorithm).certificate
    assert not made.signature_sound
    assert made.signature_algorithm.startswith("1.")


def test_signatures_of_other_keys() -> None:
    for kind in ("ed25519", "rsa-2048", "ec-p384"):
        root = forge.root(own_key=forge.key("signer", kind))
        made = forge.leaf(root).certificate
        assert made.signature_sound
        assert made.signed_by(root.key.public_key())
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    root = forge.root(own_key=forge.key("signer", "rsa-2048"), rsa_padding=pss)
    assert root.certificate.signed_by(root.key.public_key())


def test_keys_that_are_not_accepted_are_found_not_raised() -> None:
    weak = forge.leaf(ROOT, own_key=forge.key("weak", "rsa-1024")).certificate
    assert weak.key is None
    assert weak.key_finding is not None
    assert weak.key_finding.reason.id == "key-weak"
    key = forge.elements(LEAF.der, 1)[6].replace(
        forge.oid("1.2.840.10045.2.1"), forge.oid("1.2.840.10045.2.9")
    )
    unknown = forge.rebuild(LEAF, ROOT, {6: key}).certificate
    assert unknown.key_finding is not None
    assert unknown.key_finding.reason.id == "key-type"


def test_name_constraints_with_a_minimum_are_seen() -> None:
    constraints = forge.constraints([x509.UniformResourceIdentifier("a.test")])
    sound = forge.authority("sound", ROOT, constraints=constraints)
    assert sound.certificate.name_constraints is not None
    assert sound.certificate.name_constraints.plain
    subtree = forge.tlv(0x30, forge.tlv(0x86, b"a.test"), forge.tlv(0x80, b"\x01"))
    odd = forge.with_extensions(sound, ROOT, {"2.5.29.30": forge.tlv(0x30, forge.tlv(0xA0, subtree))})
    assert odd.certificate.name_constraints is not None
    assert not odd.certificate.name_constraints.plain


def test_a_concatenation() -> None:
    assert parse_concatenated(LEAF.der + ROOT.der) == (LEAF.certificate, ROOT.certificate)
    assert parse_concatenated(b"") == ()
    with pytest.raises(X509ParseError) as caught:
        parse_concatenated(LEAF.der + b"x")
    assert caught.value.reason.id == "x509-malformed"
    with pytest.raises(X509ParseError) as caught:
        parse_concatenated(LEAF.der * 17)
    assert caught.value.reason.id == "x509-chain-long"

"""The X.509-SVID standard, as far as it binds who validates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, RefusedError, X509VerifyError
from finial.core.ids import SpiffeID
from finial.core.match import ExactID
from finial.core.x509path import verify_x509
from finial.core.x509svid import X509SVID
from support import forge

ROOT = forge.root()
BUNDLES = forge.bundles(a=ROOT)
HOST = x509.UniformResourceIdentifier

EntryPoint = Callable[[forge.Made], SpiffeID]


def by_verifying(made: forge.Made) -> SpiffeID:
    return verify_x509([made.der], BUNDLES, now=forge.NOW).id


def by_loading(made: forge.Made) -> SpiffeID:
    return X509SVID.from_der([made.der], made.key_der).id


def by_loading_pem(made: forge.Made) -> SpiffeID:
    return X509SVID.from_pem(X509SVID.from_der([made.der]).chain_pem()).id


every_entry_point = pytest.mark.parametrize("entry_point", [by_verifying, by_loading, by_loading_pem])


def refused(entry_point: EntryPoint, made: forge.Made) -> set[str]:
    with pytest.raises(RefusedError) as caught:
        entry_point(made)
    return {finding.reason.id for finding in caught.value.findings}


def verdict(*chain: forge.Made, **authorities: forge.Made) -> set[str]:
    """The reasons for which a chain is refused; none when it is accepted."""
    try:
        verify_x509(
            [made.der for made in chain], forge.bundles(**(authorities or {"a": ROOT})), now=forge.NOW
        )
    except X509VerifyError as error:
        return {finding.reason.id for finding in error.findings}
    return set()


@every_entry_point
@pytest.mark.spec("X509-02", "X509-40")
@pytest.mark.parametrize("second", ["spiffe://a.test/b", "https://a.test/b", forge.WEB])
def test_more_than_one_uri(entry_point: EntryPoint, second: str) -> None:
    assert refused(entry_point, forge.leaf(ROOT, uris=[forge.WEB, second])) == {"x509-many-uris"}


@every_entry_point
@pytest.mark.spec("X509-03")
def test_no_uri(entry_point: EntryPoint) -> None:
    assert refused(entry_point, forge.leaf(ROOT, uris=[])) == {"x509-no-spiffe-id"}
    named = forge.leaf(ROOT, uris=[], others=[x509.DNSName("a.test")])
    assert refused(entry_point, named) == {"x509-no-spiffe-id"}


@every_entry_point
@pytest.mark.spec("X509-04", "X509-07", "X509-08", "X509-28", "X509-31")
def test_what_a_leaf_may_have(entry_point: EntryPoint) -> None:
    names = [x509.DNSName("a.test"), x509.RFC822Name("a@a.test")]
    purposes = (x509.ExtendedKeyUsage(forge.BOTH_PURPOSES), True)
    for made in (
        forge.leaf(ROOT, others=names),
        forge.leaf(ROOT, common_name="", own_key=forge.key(), names_critical=True),
        forge.leaf(ROOT, usages=("digitalSignature",)),
        forge.leaf(ROOT, purposes=None, extra=[purposes]),
        forge.leaf(ROOT, purposes=None),
        forge.leaf(ROOT, usage_critical=False),
    ):
        assert entry_point(made) == SpiffeID(forge.WEB)


@pytest.mark.spec("X509-32")
def test_a_foreign_leaf_with_one_purpose_is_accepted() -> None:
    assert verdict(forge.leaf(ROOT, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])) == set()


@every_entry_point
@pytest.mark.spec("X509-05", "X509-15", "X509-36")
def test_a_signing_certificate_authenticates_nobody(entry_point: EntryPoint) -> None:
    assert refused(entry_point, forge.leaf(ROOT, ca=True)) == {"x509-leaf-is-ca"}
    assert "x509-leaf-is-ca" in refused(entry_point, ROOT)


@every_entry_point
@pytest.mark.spec("X509-36")
def test_basic_constraints_may_be_absent_or_false(entry_point: EntryPoint) -> None:
    assert entry_point(forge.leaf(ROOT, ca=None)) == SpiffeID(forge.WEB)
    assert entry_point(forge.leaf(ROOT, ca=False)) == SpiffeID(forge.WEB)
    explicit = forge.with_extensions(forge.leaf(ROOT), ROOT, {"2.5.29.19": b"\x30\x00"})
    assert entry_point(explicit) == SpiffeID(forge.WEB)


@every_entry_point
@pytest.mark.spec("X509-15", "X509-37")
@pytest.mark.parametrize("usage", ["keyCertSign", "cRLSign"])
def test_a_leaf_that_may_sign(entry_point: EntryPoint, usage: str) -> None:
    assert refused(entry_point, forge.leaf(ROOT, usages=("digitalSignature", usage))) == {"x509-leaf-signs"}


@every_entry_point
@pytest.mark.spec("X509-37")
def test_a_key_usage_that_cannot_be_parsed(entry_point: EntryPoint) -> None:
    broken = forge.with_extensions(forge.leaf(ROOT), ROOT, {"2.5.29.15": b"\x02\x01\x05"})
    assert refused(entry_point, broken) == {"x509-malformed"}


@every_entry_point
@pytest.mark.spec("X509-23", "X509-27")
def test_a_leaf_without_digital_signature(entry_point: EntryPoint) -> None:
    for usages in (None, (), ("keyEncipherment",)):
        assert refused(entry_point, forge.leaf(ROOT, usages=usages)) == {"x509-leaf-key-usage"}


@every_entry_point
@pytest.mark.spec("X509-38")
def test_another_scheme(entry_point: EntryPoint) -> None:
    assert refused(entry_point, forge.leaf(ROOT, "https://example.org/a")) == {"x509-uri-scheme"}


@every_entry_point
@pytest.mark.spec("X509-39")
def test_the_id_of_a_trust_domain(entry_point: EntryPoint) -> None:
    assert refused(entry_point, forge.leaf(ROOT, "spiffe://a.test")) == {"x509-root-id"}


@every_entry_point
@pytest.mark.spec("X509-41")
@pytest.mark.parametrize(
    "uri", ["spiffe://a.test/", "spiffe://A.test/x", "spiffe://a.test/x?y", "spiffe:///x"]
)
def test_an_id_that_breaks_the_grammar(entry_point: EntryPoint, uri: str) -> None:
    assert refused(entry_point, forge.leaf(ROOT, uri)) == {"x509-spiffe-id"}


@pytest.mark.spec("X509-41", "X509-35", "BUNDLE-03", "BUNDLE-06")
def test_only_the_bundle_of_the_leafs_own_domain_counts() -> None:
    a, b = forge.root("root a"), forge.root("root b", forge.B)
    stranger = forge.leaf(a, "spiffe://b.test/x")
    assert verdict(stranger, a=a, b=b) == {"x509-unknown-authority"}
    assert verdict(stranger, a=a) == {"x509-no-bundle"}
    assert verdict(forge.leaf(b, "spiffe://b.test/x"), a=a, b=b) == set()
    assert verdict(forge.leaf(a), a=a, b=b) == set()


@pytest.mark.spec("X509-35")
def test_a_domain_without_bundle_is_said_in_plain_words() -> None:
    with pytest.raises(X509VerifyError) as caught:
        verify_x509([forge.leaf(ROOT, "spiffe://b.test/x").der], BUNDLES, now=forge.NOW)
    assert "no federation with trust domain b.test" in str(caught.value)
    with pytest.raises(X509VerifyError) as caught:
        verify_x509([], BUNDLES, now=forge.NOW)
    assert caught.value.reason.id == "x509-no-certificate"


@pytest.mark.spec("X509-53", "BUNDLE-23")
def test_an_empty_bundle_proves_nobody() -> None:
    empty = BundleSet([Bundle(trust_domain=forge.A)])
    with pytest.raises(X509VerifyError) as caught:
        verify_x509([forge.leaf(ROOT).der], empty, now=forge.NOW)
    assert caught.value.reason.id == "x509-empty-bundle"


@pytest.mark.spec("X509-11")
def test_a_plain_enterprise_root() -> None:
    plain = forge.root("Enterprise Root", uris=[], usages=None)
    assert verdict(forge.leaf(plain), a=plain) == set()


@pytest.mark.spec("X509-12")
@pytest.mark.parametrize("uri", ["spiffe://a.test/", "spiffe://a.test/ca", "spiffe://elsewhere.test"])
def test_a_foreign_authoritys_own_id_takes_no_part(uri: str) -> None:
    odd = forge.root("odd", uris=[uri])
    assert verdict(forge.leaf(odd), a=odd) == set()


@pytest.mark.spec("X509-56")
def test_a_foreign_authority_may_carry_digital_signature() -> None:
    odd = forge.root("odd usage", usages=("keyCertSign", "digitalSignature"))
    assert verdict(forge.leaf(odd), a=odd) == set()


@pytest.mark.spec("X509-17")
def test_path_length() -> None:
    short = forge.authority("short", ROOT, path_length=0)
    assert verdict(forge.leaf(short), short) == set()
    below = forge.authority("below", short)
    assert verdict(forge.leaf(below), below, short) == {"x509-path-length"}
    anchor = forge.root("anchor", path_length=0)
    beneath = forge.authority("beneath", anchor)
    assert verdict(forge.leaf(beneath), beneath, a=anchor) == {"x509-path-length"}


@pytest.mark.spec("X509-20")
def test_name_constraints() -> None:
    only_a = forge.authority("only a", ROOT, constraints=forge.constraints([HOST("a.test")]))
    only_b = forge.authority("only b", ROOT, constraints=forge.constraints([HOST("b.test")]))
    never_a = forge.authority("never a", ROOT, constraints=forge.constraints((), [HOST("a.test")]))
    assert verdict(forge.leaf(only_a), only_a) == set()
    for refusing in (only_b, never_a):
        assert verdict(forge.leaf(refusing), refusing) == {"x509-name-constraint"}


@pytest.mark.spec("X509-33")
def test_extended_key_usage_of_an_intermediate_restricts_nothing() -> None:
    narrow = forge.authority("narrow", ROOT, purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert verdict(forge.leaf(narrow), narrow) == set()


@pytest.mark.spec("X509-34")
class TestThePath:
    def test_validity_of_the_leaf(self) -> None:
        expired = forge.leaf(ROOT, not_before=forge.NOW - 2 * forge.DAY, not_after=forge.NOW - forge.DAY)
        early = forge.leaf(ROOT, not_before=forge.NOW + forge.DAY, not_after=forge.NOW + 2 * forge.DAY)
        assert verdict(expired) == {"x509-expired"}
        assert verdict(early) == {"x509-not-yet-valid"}

    def test_validity_of_an_intermediate(self) -> None:
        expired = forge.authority("expired", ROOT, not_after=forge.NOW - forge.DAY / 2)
        assert verdict(forge.leaf(expired), expired) == {"x509-expired"}

    def test_validity_of_the_authority(self) -> None:
        expired = forge.root("expired root", not_after=forge.NOW - forge.DAY / 2)
        assert verdict(forge.leaf(expired), a=expired) == {"x509-expired"}

    def test_a_wrong_signature(self) -> None:
        impostor = forge.root(own_key=forge.key("impostor"))
        assert verdict(forge.leaf(impostor)) == {"x509-signature"}

    def test_another_issuer(self) -> None:
        assert verdict(forge.leaf(forge.root("unknown"))) == {"x509-unknown-authority"}

    @pytest.mark.parametrize("ca", [None, False])
    def test_an_intermediate_that_is_none(self, ca: bool | None) -> None:
        plain = forge.authority("plain", ROOT, ca=ca)
        assert verdict(forge.leaf(plain), plain) == {"x509-not-ca"}

    def test_an_intermediate_that_may_not_sign(self) -> None:
        mute = forge.authority("mute", ROOT, usages=("cRLSign",))
        assert verdict(forge.leaf(mute), mute) == {"x509-ca-key-usage"}

    def test_a_leaf_signs_no_other_leaf(self) -> None:
        first = forge.leaf(ROOT, common_name="first")
        assert verdict(forge.leaf(first), first) == {"x509-not-ca", "x509-ca-key-usage"}

    def test_an_unknown_critical_extension_anywhere(self) -> None:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
        inter = forge.authority("inter", ROOT, extra=[(unknown, True)])
        anchor = forge.root("critical root", extra=[(unknown, True)])
        assert verdict(forge.leaf(ROOT, extra=[(unknown, True)])) == {"x509-critical-extension"}
        assert verdict(forge.leaf(inter), inter) == {"x509-critical-extension"}
        assert verdict(forge.leaf(anchor), a=anchor) == {"x509-critical-extension"}

    def test_an_old_hash(self) -> None:
        made = forge.leaf(ROOT)
        old = forge.rebuild(
            made, ROOT, {2: forge.SHA1_ECDSA}, algorithm=forge.SHA1_ECDSA, digest=hashes.SHA1()
        )
        assert verdict(old) == {"x509-signature-algorithm"}


@pytest.mark.spec("X509-39")
def test_no_entry_point_lets_a_bare_domain_through_even_when_wanted() -> None:
    made = forge.leaf(ROOT, "spiffe://a.test")
    with pytest.raises(FinialError):
        verify_x509([made.der], BUNDLES, now=forge.NOW, accept=ExactID(SpiffeID("spiffe://a.test")))

from __future__ import annotations

import ipaddress
import random  # noqa: TID251 - seeded

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from finial.core.bundle import Bundle
from finial.core.errors import MatchError, X509VerifyError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.match import ExactID
from finial.core.x509path import (
    MAX_PATHS,
    MAX_SIGNATURE_CHECKS,
    MAX_STEPS,
    VerifiedX509,
    verify_certificates,
    verify_x509,
)
from support import forge

ROOT = forge.root()
URI = x509.UniformResourceIdentifier


def verify(*chain: forge.Made, **authorities: forge.Made | list[forge.Made]) -> VerifiedX509:
    return verify_x509(
        [made.der for made in chain], forge.bundles(**(authorities or {"a": ROOT})), now=forge.NOW
    )


def findings(*chain: forge.Made, **authorities: forge.Made | list[forge.Made]) -> list[str]:
    with pytest.raises(X509VerifyError) as caught:
        verify(*chain, **authorities)
    return [f"{finding.where}: {finding.reason.id}" for finding in caught.value.findings]


def ladder(length: int, **settings: object) -> list[forge.Made]:
    """A leaf and so many intermediates under ROOT, the leaf first."""
    chain = [ROOT]
    for number in range(length):
        chain.append(forge.authority(f"step {number}", chain[-1], **settings))
    chain.append(forge.leaf(chain[-1]))
    return chain[:0:-1]


class TestAcceptance:
    def test_what_is_returned(self) -> None:
        inter = forge.authority("inter", ROOT, not_after=forge.NOW + forge.DAY / 2)
        made = forge.leaf(inter)
        proven = verify(made, inter)
        assert proven.id == SpiffeID(forge.WEB)
        assert proven.leaf == made.certificate
        assert proven.authority == ROOT.certificate
        assert proven.path == (made.certificate, inter.certificate, ROOT.certificate)
        assert proven.expires_at == forge.NOW + forge.DAY / 2

    @pytest.mark.parametrize("length", [0, 1, 2, 8, 15])
    def test_any_depth_up_to_the_limit(self, length: int) -> None:
        assert len(verify(*ladder(length)).path) == length + 2

    def test_any_order_repetition_and_company(self) -> None:
        leaf, *others = ladder(4)
        crowd = [*others, *others[:2], ROOT, forge.authority("stranger", forge.root("elsewhere"))]
        for seed in range(5):
            random.Random(seed).shuffle(crowd)
            assert len(verify(leaf, *crowd).path) == 6

    def test_instants_at_the_edges_are_inside(self) -> None:
        made = forge.leaf(ROOT)
        for now in (forge.NOW - forge.DAY, forge.NOW + forge.DAY):
            assert verify_x509([made.der], forge.bundles(a=ROOT), now=now).leaf == made.certificate

    def test_several_authorities_of_one_name(self) -> None:
        twins = [forge.root(own_key=forge.key(f"twin {number}"), identified=False) for number in range(5)]
        for twin in twins:
            assert verify(forge.leaf(twin), a=twins).authority == twin.certificate

    def test_an_authority_that_is_not_self_signed(self) -> None:
        issuing = forge.authority("issuing", ROOT)
        assert verify(forge.leaf(issuing), a=issuing).path[1:] == (issuing.certificate,)

    def test_a_cross_signed_authority_is_reached_either_way(self) -> None:
        second = forge.root("second")
        shared = forge.key("shared")
        crossed = [forge.authority("shared", issuer, own_key=shared) for issuer in (ROOT, second)]
        made = forge.leaf(crossed[0])
        assert verify(made, *crossed).authority == ROOT.certificate
        assert verify(made, *crossed, a=second).authority == second.certificate

    def test_a_faulty_path_does_not_hide_a_sound_one(self) -> None:
        shared = forge.key("shared")
        expired = forge.authority("shared", ROOT, own_key=shared, not_after=forge.NOW - forge.DAY / 2)
        sound = forge.authority("shared", ROOT, own_key=shared)
        for chain in ([expired, sound], [sound, expired]):
            assert verify(forge.leaf(sound), *chain).path[1] == sound.certificate

    def test_self_issued_intermediates_do_not_count_for_the_path_length(self) -> None:
        short = forge.root("short", path_length=0)
        rolled = forge.authority("short", short, own_key=forge.key("rolled"))
        assert len(verify(forge.leaf(rolled), rolled, a=short).path) == 3

    def test_the_matcher_is_asked_after_the_proof(self) -> None:
        wanted = ExactID(SpiffeID("spiffe://a.test/db"))
        with pytest.raises(MatchError):
            verify_x509([forge.leaf(ROOT).der], forge.bundles(a=ROOT), now=forge.NOW, accept=wanted)
        with pytest.raises(X509VerifyError):
            verify_x509([forge.leaf(ROOT).der], forge.bundles(b=ROOT), now=forge.NOW, accept=wanted)

    def test_parsed_certificates(self) -> None:
        made = forge.leaf(ROOT).certificate
        assert verify_certificates([made], forge.bundles(a=ROOT), now=forge.NOW).leaf is made


class TestRefusal:
    def test_every_broken_rule_is_listed_the_leafs_first(self) -> None:
        expired = forge.authority("expired", ROOT, not_after=forge.NOW - forge.DAY / 2, usages=("cRLSign",))
        made = forge.leaf(expired, usages=("cRLSign",), not_after=forge.NOW - forge.DAY / 2)
        assert findings(made, expired) == [
            "leaf: x509-leaf-signs",
            "leaf: x509-leaf-key-usage",
            "leaf: x509-expired",
            "certificate 2: x509-ca-key-usage",
            "certificate 2: x509-expired",
        ]

    def test_a_missing_bundle_comes_first(self) -> None:
        made = forge.leaf(ROOT, not_after=forge.NOW - forge.DAY / 2)
        assert findings(made, b=ROOT) == ["leaf: x509-no-bundle", "leaf: x509-expired"]

    def test_a_source_that_answers_with_another_domains_bundle(self) -> None:
        class Confused:
            def bundle_for(self, trust_domain: TrustDomain) -> Bundle:
                return forge.bundle(forge.B, ROOT)

        with pytest.raises(X509VerifyError) as caught:
            verify_x509([forge.leaf(ROOT).der], Confused(), now=forge.NOW)
        assert caught.value.reason.id == "x509-no-bundle"
        assert "b.test" in str(caught.value)

    def test_too_many_certificates(self) -> None:
        chain = ladder(15)
        assert findings(*chain, ROOT) == [": x509-chain-long"]
        with pytest.raises(X509VerifyError) as caught:
            verify_certificates(
                [made.certificate for made in [*chain, ROOT]], forge.bundles(a=ROOT), now=forge.NOW
            )
        assert caught.value.reason.id == "x509-chain-long"

    def test_garbage_beside_the_leaf(self) -> None:
        with pytest.raises(X509VerifyError) as caught:
            verify_x509([forge.leaf(ROOT).der, b"x"], forge.bundles(a=ROOT), now=forge.NOW)
        assert caught.value.findings[0].where == "certificate 2"

    def test_a_self_signed_leaf(self) -> None:
        lonely = forge.make("leaf", ca=False, usages=("digitalSignature",), uris=(forge.WEB,))
        assert findings(lonely) == ["leaf: x509-unknown-authority"]

    def test_a_presented_root_is_no_authority(self) -> None:
        own = forge.root("own")
        assert findings(forge.leaf(own), own) == ["certificate 2: x509-unknown-authority"]

    def test_faults_of_a_path_that_leads_nowhere_are_listed_too(self) -> None:
        stray = forge.authority("stray", forge.root("elsewhere"), not_after=forge.NOW - forge.DAY / 2)
        found = findings(forge.leaf(stray), stray)
        assert found == ["certificate 2: x509-unknown-authority", "certificate 2: x509-expired"]

    def test_a_forged_intermediate(self) -> None:
        forged = forge.authority("forged", forge.root(own_key=forge.key("thief")))
        assert findings(forge.leaf(forged), forged) == ["certificate 2: x509-signature"]

    def test_an_old_signature_on_an_intermediate(self) -> None:
        inter = forge.authority("inter", ROOT)
        old = forge.rebuild(
            inter, ROOT, {2: forge.SHA1_ECDSA}, algorithm=forge.SHA1_ECDSA, digest=hashes.SHA1()
        )
        assert findings(forge.leaf(old), old) == ["certificate 2: x509-signature-algorithm"]

    def test_a_weak_signature_is_not_even_checked(self) -> None:
        # Were it checked, it would lead on to the authority, whose end would then be reported.
        ended = forge.root("ended", not_after=forge.NOW - forge.DAY / 2)
        old = forge.rebuild(
            forge.leaf(ended),
            ended,
            {2: forge.SHA224_ECDSA},
            algorithm=forge.SHA224_ECDSA,
            digest=hashes.SHA224(),
        )
        assert findings(old, a=ended) == ["leaf: x509-signature-algorithm"]

    def test_an_old_signature_on_an_authority_is_nobodys_business(self) -> None:
        old = forge.rebuild(
            ROOT, ROOT, {2: forge.SHA1_ECDSA}, algorithm=forge.SHA1_ECDSA, digest=hashes.SHA1()
        )
        assert verify(forge.leaf(ROOT), a=old).authority == old.certificate

    def test_an_authority_with_a_weak_key(self) -> None:
        weak = forge.root("weak", own_key=forge.key("weak", "rsa-1024"))
        assert findings(forge.leaf(weak), a=weak) == ["leaf: key-weak"]

    def test_the_best_of_the_faulty_paths_is_told(self) -> None:
        shared = forge.key("shared")
        end = forge.NOW - forge.DAY / 2
        worse = forge.authority("shared", ROOT, own_key=shared, not_after=end, usages=("cRLSign",))
        better = forge.authority("shared", ROOT, own_key=shared, not_after=end)
        assert findings(forge.leaf(better), worse, better) == ["certificate 3: x509-expired"]
        assert findings(forge.leaf(better), better, worse) == ["certificate 2: x509-expired"]


class TestBounds:
    def test_authorities_of_one_name_without_end(self) -> None:
        twins = [forge.root(own_key=forge.key(f"t{number}"), identified=False) for number in range(80)]
        stranger = forge.root(own_key=forge.key("stranger"))
        found = findings(forge.leaf(stranger), a=twins)
        assert found == [": x509-search-limit"]
        with pytest.raises(X509VerifyError, match=f"{MAX_SIGNATURE_CHECKS} signature checks"):
            verify(forge.leaf(stranger), a=twins)

    def test_the_right_authority_is_tried_first_by_its_key_id(self) -> None:
        twins = [forge.root(own_key=forge.key(f"t{number}")) for number in range(80)]
        assert verify(forge.leaf(twins[-1]), a=twins).authority == twins[-1].certificate

    def test_a_mesh_of_cross_signed_intermediates(self) -> None:
        key = forge.key("mesh")
        mesh = [forge.authority("mesh", forge.root("mesh", own_key=key), own_key=key) for _ in range(15)]
        assert findings(forge.leaf(mesh[0]), *mesh) == [": x509-search-limit"]

    def test_a_mesh_with_few_signatures_but_many_ways_through_it(self) -> None:
        key = forge.key("mesh")
        mesh = [forge.authority("mesh", forge.root("mesh", own_key=key), own_key=key) for _ in range(7)]
        with pytest.raises(X509VerifyError, match=f"and {MAX_STEPS + 1} steps") as caught:
            verify(forge.leaf(mesh[0]), *mesh)
        assert caught.value.reason.id == "x509-search-limit"

    def test_a_mesh_that_reaches_an_authority_but_never_soundly(self) -> None:
        key = forge.key("mesh")
        anchor = forge.root("mesh", own_key=key, not_after=forge.NOW - forge.DAY / 2)
        mesh = [forge.authority("mesh", anchor, own_key=key) for _ in range(15)]
        found = findings(forge.leaf(mesh[0]), *mesh, a=anchor)
        assert found == ["authority: x509-expired", ": x509-search-limit"]
        with pytest.raises(X509VerifyError) as caught:
            verify(forge.leaf(mesh[0]), *mesh, a=anchor)
        assert f"after {MAX_PATHS} paths" in caught.value.findings[-1].message

    def test_the_search_limit_is_told_beside_the_faults_of_the_best_path(self) -> None:
        key = forge.key("mesh")
        anchor = forge.root("mesh", own_key=key, not_after=forge.NOW - forge.DAY / 2)
        twins = [
            forge.root("mesh", own_key=forge.key(f"t{number}"), identified=False) for number in range(80)
        ]
        mesh = [forge.authority("mesh", anchor, own_key=key)]
        found = findings(forge.leaf(mesh[0]), *mesh, a=[anchor, *twins])
        assert found == ["authority: x509-expired", ": x509-search-limit"]


class TestNameConstraints:
    def inter(self, *, permitted: object = (), excluded: object = ()) -> forge.Made:
        return forge.authority("inter", ROOT, constraints=forge.constraints(permitted, excluded))  # type: ignore[arg-type]

    def test_of_an_authority(self) -> None:
        bound = forge.root("bound", constraints=forge.constraints([URI("b.test")]))
        assert findings(forge.leaf(bound), a=bound) == ["authority: x509-name-constraint"]

    def test_on_names_of_every_evaluated_kind(self) -> None:
        network = x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))
        inter = self.inter(permitted=[x509.DNSName("a.test"), network])
        good = forge.leaf(
            inter, others=[x509.DNSName("x.a.test"), x509.IPAddress(ipaddress.ip_address("10.1.1.1"))]
        )
        assert verify(good, inter).leaf == good.certificate
        bad = forge.leaf(inter, others=[x509.DNSName("x.b.test")])
        assert findings(bad, inter) == ["certificate 2: x509-name-constraint"]

    def test_on_a_subject(self) -> None:
        inter = self.inter(permitted=[x509.DirectoryName(forge.name("somebody"))])
        assert findings(forge.leaf(inter), inter) == ["certificate 2: x509-name-constraint"]
        fitting = self.inter(permitted=[x509.DirectoryName(forge.name("LEAF"))])
        assert len(verify(forge.leaf(fitting), fitting).path) == 3

    def test_on_a_subject_that_cannot_be_read(self) -> None:
        inter = self.inter(permitted=[x509.DirectoryName(forge.name("somebody"))])
        attribute = forge.tlv(0x30, forge.oid("2.5.4.3"), forge.tlv(0x0C, b"\xff\xfe"))
        bad = forge.rebuild(forge.leaf(inter), inter, {5: forge.tlv(0x30, forge.tlv(0x31, attribute))})
        assert findings(bad, inter) == ["certificate 2: x509-name-constraint"]

    def test_on_every_id_further_down_self_issued_ones_too(self) -> None:
        outer = self.inter(permitted=[URI("a.test")])
        rolled = forge.authority("inter", outer, own_key=forge.key("rolled"), uris=["spiffe://b.test"])
        found = findings(forge.leaf(rolled), rolled, outer)
        assert found == ["certificate 3: x509-name-constraint"]

    def test_of_a_kind_that_cannot_be_evaluated(self) -> None:
        # The second subtree excludes the leaf; it is not reached, since the first cannot be evaluated.
        odd = self.inter(excluded=[x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), URI("a.test")])
        assert findings(forge.leaf(odd), odd) == ["certificate 2: x509-name-constraint-kind"]

    def test_so_many_that_comparing_is_not_begun(self) -> None:
        many = self.inter(permitted=[x509.DNSName(f"n{number}.test") for number in range(70)])
        crowded = forge.leaf(many, others=[x509.DNSName(f"outside{number}.test") for number in range(69)])
        assert findings(crowded, many) == ["certificate 2: x509-name-constraint-limit"]

"""The trust domain and bundle standard: the document, what it proves, and what it does not."""

from __future__ import annotations

import base64
import json
from dataclasses import fields, replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import ReadBundle, read_bundle, write_bundle
from finial.core.errors import BundleError, X509VerifyError
from finial.core.ids import TrustDomain
from finial.core.x509path import verify_x509
from support import forge, tokens

OLD, NEW = forge.root("old"), forge.root("new")
JWT, WIT = tokens.authority("jwt")[0], tokens.authority("wit")[0]
OTHER = replace(WIT, key_id="jwt")


def entry(made: forge.Made = OLD, **changes: object) -> dict[str, object]:
    return {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(made.der).decode()], **changes}


def read(*keys: object, **members: object) -> ReadBundle:
    return read_bundle(forge.A, json.dumps({"keys": list(keys), **members}).encode())


def refusal(text: str) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(forge.A, text.encode())
    return caught.value.reason.id


def valid(made: forge.Made, bundle: Bundle) -> bool:
    try:
        verify_x509([made.der], BundleSet([bundle]), now=forge.NOW)
    except X509VerifyError:
        return False
    return True


@pytest.mark.spec("BUNDLE-01", "BUNDLE-07", "BUNDLE-48")
def test_rotation_adds_the_new_root_before_it_drops_the_old() -> None:
    first = Bundle(trust_domain=forge.A, x509_authorities=(OLD.certificate,), sequence=1)
    both = replace(first, x509_authorities=(OLD.certificate, NEW.certificate), sequence=2)
    last = replace(first, x509_authorities=(NEW.certificate,), sequence=3)
    before, after = forge.leaf(OLD), forge.leaf(NEW)
    seen = [(valid(before, bundle), valid(after, bundle)) for bundle in (first, both, last)]
    assert seen == [(True, False), (True, True), (False, True)]


@pytest.mark.spec("BUNDLE-02")
def test_an_authority_key_of_two_domains_is_reported() -> None:
    shared = forge.bundles(a=OLD, b=forge.root("elsewhere", forge.B, own_key=OLD.key))
    (finding,) = shared.shared_authorities()
    assert finding.reason.id == "bundle-shared-authority"
    assert "a.test" in finding.message
    assert "b.test" in finding.message
    assert forge.bundles(a=[OLD, NEW], b=forge.root("other", forge.B)).shared_authorities() == ()
    signs_tokens = Bundle(trust_domain=forge.B, wit_authorities=(replace(WIT, key_id="another"),))
    for other in (
        Bundle(trust_domain=forge.A, jwt_authorities=(WIT,)),
        Bundle(trust_domain=forge.A, wit_authorities=(WIT,)),
    ):
        assert len(BundleSet([other, signs_tokens]).shared_authorities()) == 1


@pytest.mark.spec("BUNDLE-04", "BUNDLE-05")
def test_a_bundle_never_goes_without_its_name() -> None:
    assert read(entry()).bundle.trust_domain == forge.A
    with pytest.raises(TypeError):
        Bundle()  # type: ignore[call-arg]
    assert next(iter(fields(Bundle))).name == "trust_domain"


@pytest.mark.spec("BUNDLE-09", "BUNDLE-19", "BUNDLE-22", "BUNDLE-24", "BUNDLE-27", "BUNDLE-29")
def test_what_is_published_is_a_jwk_set() -> None:
    bundle = replace(forge.bundle(forge.A, OLD, NEW), jwt_authorities=(JWT,), wit_authorities=(WIT,))
    document = json.loads(write_bundle(bundle))
    uses = ["x509-svid", "x509-svid", "jwt-svid", "wit-svid"]
    assert [(key["use"], key["kty"]) for key in document["keys"]] == [(use, "EC") for use in uses]
    assert json.loads(write_bundle(Bundle(trust_domain=forge.A))) == {"keys": []}


@pytest.mark.spec("BUNDLE-10", "BUNDLE-11")
def test_unknown_members_are_tolerated_and_none_is_needed() -> None:
    assert read(entry(), something={"else": [1.5]}).bundle == read(entry()).bundle
    assert read(entry(alg="ES256", key_ops=["verify"], x5t="x")).bundle.x509_authorities == (OLD.certificate,)


@pytest.mark.spec("BUNDLE-12", "BUNDLE-15", "BUNDLE-16")
@pytest.mark.parametrize("sequence", [1, 2**53 + 1, 2**63 - 1, 2**64 - 1])
def test_sequence_and_hint_survive_the_round_trip(sequence: int) -> None:
    bundle = replace(forge.bundle(forge.A, OLD), sequence=sequence, refresh_hint=timedelta(minutes=5))
    document = json.loads(write_bundle(bundle))
    assert document["spiffe_sequence"] == sequence
    assert document["spiffe_refresh_hint"] == 300
    assert read_bundle(forge.A, write_bundle(bundle)).bundle == bundle


@pytest.mark.spec("BUNDLE-14")
def test_what_has_to_raise_the_sequence() -> None:
    bundle = forge.bundle(forge.A, OLD)
    assert bundle.same_content(replace(bundle, sequence=9))
    assert not bundle.same_content(forge.bundle(forge.A, OLD, NEW))
    assert not bundle.same_content(forge.bundle(forge.A))
    assert not bundle.same_content(replace(bundle, refresh_hint=timedelta(seconds=1)))
    assert not bundle.same_content(forge.bundle(forge.B, OLD))


@pytest.mark.spec("BUNDLE-15")
@pytest.mark.parametrize(
    "sequence", ["-1", "1.0", "1e3", "true", '"1"', "null", "18446744073709551616", "[]"]
)
def test_a_sequence_that_is_no_integer_fails_the_document(sequence: str) -> None:
    assert refusal(f'{{"keys":[],"spiffe_sequence":{sequence}}}') == "bundle-sequence"


@pytest.mark.spec("BUNDLE-17")
def test_a_hint_is_whole_seconds_rounded_up() -> None:
    bundle = replace(forge.bundle(forge.A), refresh_hint=timedelta(seconds=1, microseconds=1))
    assert json.loads(write_bundle(bundle))["spiffe_refresh_hint"] == 2
    for hint in ["-1", "1.5", "true", '"300"', "null", "99999999999999999999"]:
        found = read_bundle(forge.A, f'{{"keys":[],"spiffe_refresh_hint":{hint}}}'.encode())
        assert found.bundle.refresh_hint is None
        assert [finding.reason.id for finding in found.broken] == ["bundle-refresh-hint"]


@pytest.mark.spec("BUNDLE-19")
@pytest.mark.parametrize("text", ["{}", '{"keys":null}', '{"keys":{}}', '{"keys":"x"}', '{"Keys":[]}'])
def test_keys_has_to_be_an_array(text: str) -> None:
    assert refusal(text) == "bundle-keys"


@pytest.mark.spec("BUNDLE-20", "BUNDLE-21", "BUNDLE-28", "BUNDLE-30")
def test_an_unknown_entry_is_passed_over_alone() -> None:
    unused = entry()
    del unused["use"]
    untyped = entry()
    del untyped["kty"]
    odd = [
        entry(kty="XYZ"),
        untyped,
        entry(kty=7),
        entry(use="foo"),
        unused,
        entry(use="X509-SVID"),
        entry(use=None),
    ]
    found = read(*odd, entry(NEW))
    assert found.bundle.x509_authorities == (NEW.certificate,)
    assert [finding.reason.id for finding in found.skipped] == ["bundle-entry-kty"] * 3 + [
        "bundle-entry-use"
    ] * 4
    assert [finding.where for finding in found.skipped] == [f"keys[{number}]" for number in range(7)]
    assert found.broken == ()


@pytest.mark.spec("X509-49", "BUNDLE-21", "JWT-36", "WIT-47")
def test_every_key_serves_its_own_use_alone() -> None:
    # The parameters and the certificate are those of one key; what it is for, the use says.
    (root,) = json.loads(write_bundle(forge.bundle(forge.A, OLD)))["keys"]
    found = read({**root, "use": "jwt-svid", "kid": "1"}, {**root, "use": "wit-svid", "kid": "2"}, entry(NEW))
    assert found.bundle.x509_authorities == (NEW.certificate,)
    assert [each.key_id for each in found.bundle.jwt_authorities] == ["1"]
    assert [each.key_id for each in found.bundle.wit_authorities] == ["2"]
    assert (found.skipped, found.broken) == ((), ())


@pytest.mark.spec("JWT-33", "JWT-34", "JWT-35", "WIT-43", "WIT-44", "WIT-45", "BUNDLE-25", "BUNDLE-26")
@pytest.mark.parametrize(("kind", "parameters"), [("ec-p384", {"crv", "x", "y"}), ("rsa-2048", {"n", "e"})])
def test_keys_for_tokens_have_a_key_id_and_nothing_private(kind: str, parameters: set[str]) -> None:
    keys = [tokens.authority(kid, kind)[0] for kid in ("j1", "j2", "w")]
    bundle = Bundle(trust_domain=forge.A, jwt_authorities=tuple(keys[:2]), wit_authorities=(keys[2],))
    entries = json.loads(write_bundle(bundle))["keys"]
    assert [(each["use"], each["kid"]) for each in entries] == [
        ("jwt-svid", "j1"),
        ("jwt-svid", "j2"),
        ("wit-svid", "w"),
    ]
    assert {frozenset(each) for each in entries} == {frozenset(parameters | {"use", "kid", "kty"})}


@pytest.mark.spec("JWT-35", "WIT-46")
def test_no_key_id_is_published_twice() -> None:
    for keys in ({"jwt_authorities": (JWT, OTHER)}, {"jwt_authorities": (JWT,), "wit_authorities": (OTHER,)}):
        with pytest.raises(BundleError):
            Bundle(trust_domain=forge.A, **keys)


@pytest.mark.spec("BUNDLE-14", "BUNDLE-22")
def test_keys_for_tokens_count_as_content() -> None:
    bundle = forge.bundle(forge.A, OLD)
    for keys in ({"jwt_authorities": (JWT,)}, {"wit_authorities": (WIT,)}):
        more = replace(bundle, **keys)  # type: ignore[arg-type]
        assert not bundle.same_content(more)
        assert read_bundle(forge.A, write_bundle(more)).bundle == more


@pytest.mark.spec("X509-50")
@pytest.mark.parametrize("x5c", [None, []])
def test_an_entry_without_certificate_is_passed_over(x5c: object) -> None:
    bare = entry()
    del bare["x5c"]
    found = read(bare, entry(x5c=x5c), entry(NEW))
    assert found.bundle.x509_authorities == (NEW.certificate,)
    assert [finding.reason.id for finding in found.skipped] == ["bundle-entry-no-x5c"] * 2


@pytest.mark.spec("X509-51")
def test_only_the_first_certificate_counts() -> None:
    first, second = (base64.b64encode(made.der).decode() for made in (OLD, NEW))
    found = read(entry(x5c=[first, second]), entry(x5c=[first, 7]))
    assert found.bundle.x509_authorities == (OLD.certificate,)
    assert found.broken == ()


@pytest.mark.spec("X509-52")
def test_anchors_are_the_union_of_the_entries() -> None:
    assert read(entry(OLD), entry(NEW), entry(OLD)).bundle.x509_authorities == (
        OLD.certificate,
        NEW.certificate,
    )


@pytest.mark.spec("BUNDLE-22", "BUNDLE-23")
def test_an_empty_bundle_revokes_everything() -> None:
    empty = read().bundle
    assert empty == Bundle(trust_domain=forge.A)
    assert not valid(forge.leaf(OLD), empty)
    assert not valid(forge.leaf(OLD), read(entry(kty="XYZ")).bundle)


@pytest.mark.spec("BUNDLE-26")
def test_entries_carry_nothing_else() -> None:
    kinds = {"ec-p256": {"crv", "x", "y"}, "rsa-2048": {"n", "e"}, "ed25519": {"crv", "x"}}
    for kind, parameters in kinds.items():
        made = forge.root(own_key=forge.key("published", kind))
        (key,) = json.loads(write_bundle(forge.bundle(forge.A, made)))["keys"]
        assert set(key) == parameters | {"use", "kty", "x5c"}


@pytest.mark.spec("BUNDLE-47")
@pytest.mark.parametrize(
    "text",
    [
        '{"keys":[],"keys":[]}',
        '{"keys":[{"kty":"EC","use":"x509-svid","use":"jwt-svid"}]}',
        '{"keys":[],"other":{"deep":[{"a":1,"a":1}]}}',
    ],
)
def test_a_key_that_stands_twice(text: str) -> None:
    assert refusal(text) == "bundle-duplicate-key"


@pytest.mark.spec("BUNDLE-05", "BUNDLE-06")
def test_bundles_are_kept_under_their_names() -> None:
    held = forge.bundles(a=OLD, b=NEW)
    assert held.bundle_for(forge.A) == forge.bundle(forge.A, OLD)
    assert held.bundle_for(forge.B) == forge.bundle(forge.B, NEW)
    assert held.bundle_for(TrustDomain("c.test")) is None

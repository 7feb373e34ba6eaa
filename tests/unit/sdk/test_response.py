"""What messages of the Workload API say, good and bad."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from finial.core.ids import TrustDomain
from finial.core.x509svid import X509SVID
from finial.sdk.response import HintError, ResponseError
from finial.sdk.response_x509 import X509Bundles, X509Context, read_bundles, read_svids
from finial.wire.gen import workload as pb
from support import forge
from support.fake_workload import ROOT_A, ROOT_B, fresh_leaf, one_svid, svids

LEAF = fresh_leaf()
OTHER = fresh_leaf(uri="spiffe://a.test/other")
C = TrustDomain("c.test")


def said(message: pb.X509SVIDResponse) -> X509Context:
    answer = read_svids(message)
    assert answer.passed_over == ()
    return answer.value


def findings(message: pb.X509SVIDResponse) -> list[str]:
    with pytest.raises(ResponseError) as caught:
        read_svids(message)
    return [str(found) for found in caught.value.findings]


def passed(message: pb.X509SVIDResponse) -> list[str]:
    return [str(found) for found in read_svids(message).passed_over]


def test_a_message_with_everything() -> None:
    message = svids(
        one_svid(LEAF, hint="internal"),
        one_svid(OTHER, "spiffe://a.test/other"),
        federated={"spiffe://b.test": ROOT_B.der, "spiffe://c.test": b""},
    )
    message.crl.append(b"list")
    context = said(message)
    assert [svid.id.text for svid in context.svids] == [forge.WEB, "spiffe://a.test/other"]
    assert [svid.hint for svid in context.svids] == ["internal", ""]
    assert context.svid.private_key is not None
    assert context.svid.key_der() == LEAF.key_der
    assert set(context.bundles) == {forge.A, forge.B, C}
    assert context.bundles[forge.B].x509_authorities == (ROOT_B.certificate,)
    assert context.bundles[C].x509_authorities == ()
    assert context.bundle_for(forge.A) is context.bundles[forge.A]
    assert context.crls == (b"list",)
    assert LEAF.key_der.hex() not in repr(context)


def test_intermediates_and_many_authorities() -> None:
    below = forge.authority("below", ROOT_A)
    leaf = fresh_leaf(below)
    more = [forge.root(f"root {number}") for number in range(20)]
    each = one_svid(leaf)
    each.x509_svid = leaf.der + below.der
    each.bundle = b"".join(root.der for root in [ROOT_A, *more])
    context = said(svids(each))
    assert len(context.svid.certificates) == 2
    assert len(context.bundles[forge.A].x509_authorities) == 21


def test_empty_messages_and_fields() -> None:
    assert findings(svids()) == ["svids: the message holds no SVID"]
    assert findings(svids(one_svid(LEAF), pb.X509SVID())) == [
        f"svids[1]: the field {name} is empty"
        for name in ("spiffe_id", "x509_svid", "x509_svid_key", "bundle")
    ]


def changed(change: Callable[[pb.X509SVID], None]) -> pb.X509SVIDResponse:
    each = one_svid(LEAF)
    change(each)
    return svids(each)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("x509_svid", X509SVID.from_der([LEAF.der]).chain_pem(), "DER tag 0x2d where a certificate belongs"),
        ("x509_svid", LEAF.der[:-1], "DER ends in the middle"),
        ("x509_svid", ROOT_A.der, "svids[0]: leaf: "),
        ("x509_svid_key", OTHER.key_der, "not the one that the leaf was issued for"),
        ("x509_svid_key", b"key", "not an unencrypted PKCS#8"),
        ("spiffe_id", "spiffe://a.test/no", "the SVID is of spiffe://a.test/web, and the message says"),
        ("bundle", b"bundle", "no authority in the bundle can be used"),
        ("bundle", LEAF.der, "no authority in the bundle can be used"),
    ],
)
def test_svids_that_are_none(field: str, value: str | bytes, text: str) -> None:
    found = findings(changed(lambda each: setattr(each, field, value)))
    assert any(text in line for line in found), found
    assert b"key".hex() not in "".join(found)


def test_contradicting_bundles_of_one_trust_domain() -> None:
    message = svids(one_svid(LEAF), one_svid(OTHER, "spiffe://a.test/other", root=forge.root("another")))
    assert findings(message) == ["svids[1]: a second, other bundle of a.test"]


def test_svids_of_several_trust_domains() -> None:
    foreign = fresh_leaf(ROOT_B, "spiffe://b.test/web")
    context = said(svids(one_svid(LEAF), one_svid(foreign, "spiffe://b.test/web", root=ROOT_B)))
    assert set(context.bundles) == {forge.A, forge.B}


def test_a_broken_authority_does_not_take_the_others() -> None:
    broken = forge.flipped(ROOT_B.der, 6)
    message = changed(lambda each: setattr(each, "bundle", broken + LEAF.der + ROOT_A.der))
    answer = read_svids(message)
    assert answer.value.bundles[forge.A].x509_authorities == (ROOT_A.certificate,)
    assert {found.where for found in answer.passed_over} == {
        "svids[0].bundle, certificate 1",
        "svids[0].bundle, certificate 2",
    }


@pytest.mark.parametrize(
    ("key", "data", "text"),
    [
        ("b.test", ROOT_B.der, "the key is not the SPIFFE ID of a trust domain"),
        ("spiffe://b.test/path", ROOT_B.der, "has a path"),
        ("spiffe://B.test", ROOT_B.der, "upper case"),
        ("spiffe://b.test", b"garbage", "not certificates in DER"),
        ("spiffe://b.test", ROOT_B.der + b"\x30", "not certificates in DER"),
        ("spiffe://a.test", ROOT_B.der, "own trust domain"),
    ],
)
def test_a_broken_federated_bundle_is_passed_over(key: str, data: bytes, text: str) -> None:
    message = svids(one_svid(LEAF), federated={key: data, "spiffe://c.test": ROOT_B.der})
    answer = read_svids(message)
    assert set(answer.value.bundles) == {forge.A, C}
    assert answer.value.bundles[forge.A].x509_authorities == (ROOT_A.certificate,)
    assert any(text in str(found) for found in answer.passed_over), answer.passed_over


def test_the_first_of_equal_hints_stays_and_empty_hints_are_not_equal() -> None:
    third = fresh_leaf(uri="spiffe://a.test/third")
    message = svids(
        one_svid(LEAF, hint="x"),
        one_svid(OTHER, "spiffe://a.test/other", hint="x"),
        one_svid(third, "spiffe://a.test/third"),
        one_svid(third, "spiffe://a.test/third"),
    )
    context = read_svids(message).value
    assert [svid.id.path for svid in context.svids] == ["/web", "/third", "/third"]
    assert context.by_hint("x").id.path == "/web"
    assert passed(message) == ["svids[1]: a second SVID with the hint 'x'"]


def test_a_missing_hint_is_an_error_that_names_the_others() -> None:
    context = said(svids(one_svid(LEAF, hint="internal"), one_svid(OTHER, "spiffe://a.test/other")))
    with pytest.raises(
        HintError, match="no SVID has the hint 'external'; there are: 'internal', one without"
    ):
        context.by_hint("external")


def bundles(**each: bytes) -> pb.X509BundlesResponse:
    return pb.X509BundlesResponse(bundles={f"spiffe://{name}.test": der for name, der in each.items()})


def test_bundles_alone() -> None:
    message = bundles(a=ROOT_A.der, b=ROOT_B.der)
    message.crl.append(b"list")
    answer = read_bundles(message)
    assert answer.value == X509Bundles(forge.bundles(a=ROOT_A, b=ROOT_B), (b"list",))
    assert answer.value.bundle_for(forge.B) == forge.bundle(forge.B, ROOT_B)
    assert answer.value.bundle_for(C) is None
    partly = read_bundles(bundles(a=ROOT_A.der, b=b"no"))
    assert set(partly.value.bundles) == {forge.A}
    assert len(partly.passed_over) == 1


def test_bundles_that_are_none() -> None:
    with pytest.raises(ResponseError, match="holds no bundle"):
        read_bundles(bundles())
    with pytest.raises(ResponseError, match="not certificates in DER"):
        read_bundles(bundles(a=b"no"))


@pytest.mark.parametrize("field", ["x509_svid", "x509_svid_key", "bundle"])
def test_no_flipped_bit_raises_anything_else(field: str) -> None:
    each = one_svid(LEAF)
    whole: bytes = getattr(each, field)
    refused = 0
    for at in range(0, len(whole), 3):
        setattr(each, field, forge.flipped(whole, at, 1 << at % 8))
        try:
            read_svids(svids(each))
        except ResponseError:
            refused += 1
    assert refused

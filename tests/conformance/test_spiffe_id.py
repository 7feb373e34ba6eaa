"""The SPIFFE ID standard, row by row, as far as values can prove it."""

from __future__ import annotations

import pytest
from cryptography import x509

from finial.core.errors import (
    FinialError,
    IssueError,
    MatchError,
    SpiffeIDError,
    TokenParseError,
    TokenVerifyError,
    X509VerifyError,
)
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.jwtsvid import JWTSVID, validate_jwt
from finial.core.match import ExactID, MemberOf
from finial.core.witsvid import WITSVID, validate_wit
from finial.core.wpt import ProofScope
from finial.core.x509_profile import CARequest, Issuer, Order, SVIDRequest, issue_root, issue_svid
from finial.core.x509path import verify_x509
from support import forge, tokens

UUID = "9eebccd2-12bf-40a6-b262-65fe0487d453"
NAME_BYTES = set(b"abcdefghijklmnopqrstuvwxyz0123456789.-_")
SEGMENT_BYTES = NAME_BYTES | set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Letters outside ASCII whose lower case is an ASCII letter.
FOLDING = ["\u212a", "\u017f", "\u0130", "\u00e9", "\uff41", "\U0001d41a"]
ORDER = Order(now=forge.NOW, serial=7, ttl=forge.DAY)


def reasons(text: str) -> list[str]:
    with pytest.raises(SpiffeIDError) as caught:
        SpiffeID(text)
    return [finding.reason.id for finding in caught.value.findings]


def accepted(text: str) -> bool:
    try:
        return str(SpiffeID(text)) == text
    except SpiffeIDError:
        return False


@pytest.mark.spec("ID-01")
@pytest.mark.parametrize(
    "text",
    [
        "http://example.org/a",
        "spiffe:/example.org/a",
        "spiffe:example.org/a",
        "//example.org/a",
        "example.org/a",
        "",
        "SPIFFE://example.org/a",
        " spiffe://example.org/a",
    ],
)
def test_only_the_scheme_spiffe(text: str) -> None:
    assert reasons(text) == ["id-scheme"]
    assert accepted("spiffe://example.org/a")


@pytest.mark.spec("ID-02", "ID-06")
@pytest.mark.parametrize(
    "text",
    [
        "spiffe://",
        "spiffe:///a",
        "spiffe://:8080/a",
        "spiffe://user@/a",
        "spiffe://@/a",
        "spiffe://?",
        "spiffe://#",
    ],
)
def test_the_trust_domain_name_is_not_empty(text: str) -> None:
    assert "id-trust-domain-empty" in reasons(text)


@pytest.mark.spec("ID-03")
@pytest.mark.parametrize(
    "text",
    [
        "spiffe://example.org/a?",
        "spiffe://example.org/a?x=1",
        "spiffe://example.org?x",
        "spiffe://example.org?x#y",
    ],
)
def test_no_query(text: str) -> None:
    assert "id-query" in reasons(text)


@pytest.mark.spec("ID-04")
@pytest.mark.parametrize("text", ["spiffe://example.org/a#", "spiffe://example.org/a#f", "spiffe://a?x#y"])
def test_no_fragment(text: str) -> None:
    assert "id-fragment" in reasons(text)


@pytest.mark.spec("ID-05")
def test_an_id_without_path_is_the_trust_domains_own() -> None:
    spiffe_id = SpiffeID("spiffe://example.org")
    assert spiffe_id.path == ""
    assert spiffe_id.trust_domain == TrustDomain("example.org")
    assert spiffe_id.trust_domain.id == spiffe_id
    for text in ["spiffe://example.org", "spiffe://a/b/C.d_e-f"]:
        assert str(SpiffeID(text)) == text
        parsed = SpiffeID(text)
        assert SpiffeID.from_path(parsed.trust_domain, parsed.path).text == text


@pytest.mark.spec("ID-07")
@pytest.mark.parametrize(
    "text", ["spiffe://u@example.org/a", "spiffe://u:p@example.org/a", "spiffe://@example.org/a"]
)
def test_no_user(text: str) -> None:
    assert reasons(text) == ["id-user-info"]


@pytest.mark.spec("ID-08")
@pytest.mark.parametrize("text", ["spiffe://example.org:443/a", "spiffe://example.org:/a"])
def test_no_port(text: str) -> None:
    assert reasons(text) == ["id-port"]


@pytest.mark.spec("ID-09", "ID-29")
def test_upper_case_in_scheme_or_name_is_refused_not_folded() -> None:
    assert reasons("SPIFFE://Example.ORG/A") == ["id-scheme"]
    assert reasons("spiffe://Example.org/A") == ["id-trust-domain-case"]
    with pytest.raises(SpiffeIDError) as caught:
        TrustDomain("Example.org")
    assert caught.value.reason.id == "id-trust-domain-case"


@pytest.mark.spec("ID-10", "ID-11")
def test_exactly_39_bytes_may_stand_in_a_name() -> None:
    good = {code for code in range(256) if code not in b"/?#@:" and accepted(f"spiffe://a{chr(code)}b/p")}
    assert good == NAME_BYTES
    assert len(good) == 39
    for letter in FOLDING:
        assert "id-trust-domain-characters" in reasons(f"spiffe://a{letter}b/p")
    for text in ["spiffe://ex%61mple.org/a", "spiffe://%65xample.org"]:
        assert reasons(text) == ["id-trust-domain-characters"]


@pytest.mark.spec("ID-12")
def test_an_ipv4_address_is_a_name_and_an_ipv6_literal_is_not() -> None:
    assert accepted("spiffe://10.1.2.3/a")
    assert reasons("spiffe://[::1]/a") == ["id-trust-domain-characters"]


@pytest.mark.spec("ID-13")
@pytest.mark.parametrize("name", ["a_b", "-a", "a-", ".a", "a.", "a..b", "x" * 64, "7", "-", "_", "."])
def test_label_rules_of_dns_do_not_apply(name: str) -> None:
    assert TrustDomain(name).name == name
    assert accepted(f"spiffe://{name}/p")


@pytest.mark.spec("ID-14")
def test_a_name_is_never_treated_as_a_host() -> None:
    names = ["10.0.0.1", "010.0.0.1", "example.org", "example.org.", "a_b", "xn--bcher-kva.example"]
    domains = {TrustDomain(name) for name in names}
    assert len(domains) == len(names)
    assert {domain.name for domain in domains} == set(names)
    held = forge.bundle(TrustDomain("example.org"), forge.root())
    assert held.trust_domain != TrustDomain("example.org.")


@pytest.mark.spec("ID-17")
def test_two_domains_of_one_name_do_not_trust_each_other() -> None:
    ours, theirs = forge.root("ours"), forge.root("theirs")
    with pytest.raises(X509VerifyError) as caught:
        verify_x509([forge.leaf(theirs).der], forge.bundles(a=ours), now=forge.NOW)
    assert caught.value.reason.id == "x509-unknown-authority"


@pytest.mark.spec("ID-18")
@pytest.mark.parametrize("path", ["/%41", "/a%2Fb", "/%2e%2e"])
def test_no_percent_encoding_in_the_path(path: str) -> None:
    assert reasons(f"spiffe://example.org{path}") == ["id-path-characters"]


@pytest.mark.spec("ID-19")
@pytest.mark.parametrize("path", ["//a", "/a//b"])
def test_no_empty_segment(path: str) -> None:
    assert reasons(f"spiffe://example.org{path}") == ["id-path-empty-segment"]


@pytest.mark.spec("ID-20")
def test_no_dot_segment_and_no_normalisation() -> None:
    for path in ["/.", "/..", "/a/./b", "/a/../b", "/a/..", "/../a"]:
        assert reasons(f"spiffe://example.org{path}") == ["id-path-dot-segment"]
    for path in ["/...", "/.a", "/a.", "/..a", "/a..", "/.../..."]:
        assert accepted(f"spiffe://example.org{path}")


@pytest.mark.spec("ID-21")
def test_no_slash_at_the_end() -> None:
    assert "id-path-trailing-slash" in reasons("spiffe://example.org/")
    assert "id-path-trailing-slash" in reasons("spiffe://example.org/a/")


@pytest.mark.spec("ID-22")
def test_exactly_65_bytes_may_stand_in_a_segment() -> None:
    good = {
        code for code in range(256) if chr(code) not in "/?#" and accepted(f"spiffe://a.test/x{chr(code)}y")
    }
    assert good == SEGMENT_BYTES
    assert len(good) == 65
    for tail in ["\n", "\r\n", "\0", " ", "~", ":", "@", "+", "*", "\\", "\u212a", "\ud800", "\u2028"]:
        assert not accepted(f"spiffe://a.test/x{tail}")
        assert not accepted(f"spiffe://a.test{tail}")


@pytest.mark.spec("ID-23")
def test_a_path_is_no_parent_of_a_longer_one() -> None:
    with pytest.raises(MatchError):
        ExactID(SpiffeID("spiffe://a.test/a")).check(SpiffeID("spiffe://a.test/a/b"))


@pytest.mark.spec("ID-24")
def test_an_opaque_path_is_issued_and_validated() -> None:
    root = forge.root()
    request = SVIDRequest(spiffe_id=SpiffeID(f"spiffe://a.test/{UUID}"), public_key=forge.key().public_key())
    made = issue_svid(request, Issuer(forge.A, root.certificate), ORDER, key=root.key)
    assert verify_x509([made.der], forge.bundles(a=root), now=forge.NOW).id.path == f"/{UUID}"


@pytest.mark.spec("ID-25")
def test_an_id_of_2048_bytes_passes_everywhere() -> None:
    root = forge.root()
    text = "spiffe://a.test/" + "x" * (2048 - len("spiffe://a.test/"))
    request = SVIDRequest(spiffe_id=SpiffeID(text), public_key=forge.key().public_key())
    made = issue_svid(request, Issuer(forge.A, root.certificate), ORDER, key=root.key)
    assert verify_x509([made.der], forge.bundles(a=root), now=forge.NOW).id.text == text


@pytest.mark.spec("ID-26", "ID-27")
def test_the_length_counts_every_byte() -> None:
    domain = TrustDomain("a")
    longest = SpiffeID.from_path(domain, "/" + "x" * 2037)
    assert len(longest.path) == 2038
    assert len(longest.text) == 2048
    assert reasons(longest.text + "x") == ["id-long"]
    assert "id-long" in reasons("spiffe://a/" + "\u00e9" * 1500)  # fewer characters than that, more bytes


@pytest.mark.spec("ID-28")
def test_a_name_has_at_most_255_bytes() -> None:
    assert TrustDomain("x" * 255).name == "x" * 255
    assert accepted(f"spiffe://{'x' * 255}/p")
    assert reasons(f"spiffe://{'x' * 256}/p") == ["id-trust-domain-long"]
    with pytest.raises(SpiffeIDError):
        TrustDomain("x" * 256)


@pytest.mark.spec("ID-30")
def test_the_path_is_case_sensitive() -> None:
    lower, upper = SpiffeID("spiffe://example.org/a"), SpiffeID("spiffe://example.org/A")
    assert lower != upper
    assert len({lower, upper}) == 2


@pytest.mark.spec("ID-31")
def test_an_authority_proves_only_ids_of_its_own_domain() -> None:
    a, b = forge.root("root a"), forge.root("root b", forge.B)
    with pytest.raises(X509VerifyError) as caught:
        verify_x509([forge.leaf(a, "spiffe://b.test/x").der], forge.bundles(a=a, b=b), now=forge.NOW)
    assert caught.value.reason.id == "x509-unknown-authority"


@pytest.mark.spec("ID-33", "ID-34", "ID-35", "ID-36", "ID-43")
def test_a_self_made_authority_is_an_svid_of_its_domain() -> None:
    key = forge.key("own authority")
    made = issue_root(CARequest(trust_domain=forge.A, public_key=key.public_key()), ORDER, key=key)
    assert made.names.uris == ("spiffe://a.test",)
    assert made.spiffe_id is not None
    assert made.spiffe_id.path == ""
    assert made.self_issued
    assert made.signed_by(key.public_key())


@pytest.mark.spec("ID-37", "ID-38")
def test_a_changed_id_or_key_breaks_the_signature() -> None:
    root = forge.root()
    made = forge.leaf(root)
    changed_id = made.der.replace(forge.WEB.encode(), b"spiffe://a.test/wep")
    other = forge.leaf(root, own_key=forge.key("other"))
    changed_key = made.der.replace(forge.elements(made.der, 1)[6], forge.elements(other.der, 1)[6])
    for der in (changed_id, changed_key):
        assert der != made.der
        with pytest.raises(X509VerifyError) as caught:
            verify_x509([der], forge.bundles(a=root), now=forge.NOW)
        assert "x509-signature" in [finding.reason.id for finding in caught.value.findings]


@pytest.mark.spec("ID-37", "ID-38")
def test_a_changed_id_or_key_in_a_token_breaks_the_signature() -> None:
    held = tokens.bundles(tokens.authority("k1")[0], wit=(tokens.authority("w1")[0],))
    other = "spiffe://a.test/wep"
    forged = transplanted(tokens.jwt(), tokens.jwt(sub=other))
    with pytest.raises(TokenVerifyError) as caught:
        validate_jwt(forged, held, [tokens.AUDIENCE], now=forge.NOW)
    assert [finding.reason.id for finding in caught.value.findings] == ["token-signature"]
    scope = ProofScope(tokens.TARGET)
    for changed in (tokens.wit(sub=other), tokens.wit(cnf=tokens.confirmation("ec-p384"))):
        forged = transplanted(tokens.wit(), changed)
        with pytest.raises(TokenVerifyError) as caught:
            validate_wit(forged, tokens.proof(forged), held, scope=scope, now=forge.NOW)
        assert "token-signature" in [finding.reason.id for finding in caught.value.findings]


def transplanted(token: str, other: str) -> str:
    """The first token with the payload of the second."""
    head, _, signature = token.split(".")
    return f"{head}.{other.split('.')[1]}.{signature}"


@pytest.mark.spec("ID-42")
@pytest.mark.parametrize(
    "token",
    [
        tokens.jwt(sub="web", iss="spiffe://a.test"),
        tokens.jwt(sub=..., iss="spiffe://a.test/web"),
        tokens.jwt(header={"typ": "at+jwt"}),
        "v4.public.eyJzdWIiOiJzcGlmZmU6Ly9hLnRlc3Qvd2ViIn0",
        "",
    ],
)
def test_a_token_of_another_kind_is_no_svid(token: str) -> None:
    for parse in (JWTSVID.parse, WITSVID.parse):
        with pytest.raises(TokenParseError):
            parse(token)


@pytest.mark.spec("ID-40")
def test_further_content_is_tolerated_where_x509_allows_it() -> None:
    root = forge.root()
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"), b"\x05\x00")
    made = forge.leaf(root, extra=[(extension, False)])
    assert verify_x509([made.der], forge.bundles(a=root), now=forge.NOW).id.text == forge.WEB


@pytest.mark.spec("ID-42")
def test_a_uri_of_another_scheme_makes_no_svid() -> None:
    root = forge.root()
    with pytest.raises(X509VerifyError) as caught:
        verify_x509([forge.leaf(root, "https://a.test/web").der], forge.bundles(a=root), now=forge.NOW)
    assert caught.value.reason.id == "x509-uri-scheme"


@pytest.mark.spec("ID-46", "BUNDLE-46")
def test_an_authority_says_nothing_about_other_domains() -> None:
    root = forge.root()
    request = SVIDRequest(spiffe_id=SpiffeID("spiffe://b.test/x"), public_key=forge.key().public_key())
    with pytest.raises(IssueError) as caught:
        issue_svid(request, Issuer(forge.A, root.certificate), ORDER, key=root.key)
    assert caught.value.reason.id == "issue-foreign-subject"


@pytest.mark.spec("BUNDLE-45")
def test_a_policy_is_bound_to_a_trust_domain() -> None:
    wanted = SpiffeID("spiffe://a.test/web")
    same_path = SpiffeID("spiffe://b.test/web")
    for matcher in (ExactID(wanted), MemberOf(forge.A)):
        matcher.check(wanted)
        with pytest.raises(FinialError):
            matcher.check(same_path)

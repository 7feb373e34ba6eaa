from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

import pytest

from finial.core.errors import SpiffeIDError
from finial.core.ids import SpiffeID, TrustDomain, is_agent_id, server_id
from finial.core.rules.spiffe_id import cut

A = TrustDomain("a.test")


def test_an_id_has_a_domain_and_a_path() -> None:
    spiffe_id = SpiffeID.parse("spiffe://a.test/ns/web")
    assert spiffe_id.trust_domain == A
    assert spiffe_id.path == "/ns/web"
    assert str(spiffe_id) == spiffe_id.text == "spiffe://a.test/ns/web"
    assert spiffe_id.member_of(A)
    assert not spiffe_id.member_of(TrustDomain("b.test"))


def test_ids_equal_only_their_own_kind() -> None:
    spiffe_id = SpiffeID("spiffe://a.test")
    assert spiffe_id == SpiffeID("spiffe://a.test")
    assert spiffe_id != "spiffe://a.test"
    assert spiffe_id != A
    assert A != "a.test"
    assert TrustDomain("a.test") == A
    assert len({spiffe_id, SpiffeID("spiffe://a.test"), A, TrustDomain("a.test")}) == 2


def test_ids_are_ordered_by_text() -> None:
    assert min(SpiffeID("spiffe://b/x"), SpiffeID("spiffe://a/y")).text == "spiffe://a/y"
    assert min(TrustDomain("b"), TrustDomain("a")).name == "a"


def test_ids_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        A.name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        A.id.text = "b"  # type: ignore[misc]


@pytest.mark.parametrize("value", [SpiffeID("spiffe://a.test/x"), A])
def test_ids_can_be_copied(value: SpiffeID | TrustDomain) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value
    assert str(value) in repr(value)


def test_from_parts_takes_segments() -> None:
    assert SpiffeID.from_parts(A).text == "spiffe://a.test"
    assert SpiffeID.from_parts(A, "ns", "web").text == "spiffe://a.test/ns/web"


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        ("", "id-path-trailing-slash"),
        ("..", "id-path-dot-segment"),
        ("a/b", "id-path-characters"),
        ("a?b", "id-query"),
        ("%2e", "id-path-characters"),
    ],
)
def test_from_parts_lets_no_segment_change_the_shape(segment: str, reason: str) -> None:
    with pytest.raises(SpiffeIDError) as caught:
        SpiffeID.from_parts(A, segment)
    assert caught.value.reason.id == reason


def test_from_path_wants_the_slash() -> None:
    assert SpiffeID.from_path(A, "").path == ""
    assert SpiffeID.from_path(A, "/x").path == "/x"
    with pytest.raises(SpiffeIDError) as caught:
        SpiffeID.from_path(A, ".evil/x")
    assert caught.value.reason.id == "id-path-slash"


def test_a_trust_domain_is_read_from_its_name_or_its_id() -> None:
    assert TrustDomain.from_name_or_id("a.test") == A
    assert TrustDomain.from_name_or_id("spiffe://a.test") == A
    for text, reason in [("spiffe://a.test/x", "id-not-trust-domain"), ("A", "id-trust-domain-case")]:
        with pytest.raises(SpiffeIDError) as caught:
            TrustDomain.from_name_or_id(text)
        assert caught.value.reason.id == reason


@pytest.mark.parametrize("name", ["", "a/b", "a?b", "a#b", "a:1", "u@a", "a\n", "\u212a", "x" * 256])
def test_a_trust_domain_is_a_bare_name(name: str) -> None:
    with pytest.raises(SpiffeIDError) as caught:
        TrustDomain(name)
    assert caught.value.findings


@pytest.mark.parametrize("value", [None, 7, b"spiffe://a.test/x", ["a"]])
def test_only_text_is_an_id(value: object) -> None:
    for kind in (SpiffeID, TrustDomain):
        with pytest.raises(SpiffeIDError) as caught:
            kind(value)  # type: ignore[arg-type]
        assert caught.value.reason.id == "id-not-text"


def test_every_broken_rule_is_listed() -> None:
    with pytest.raises(SpiffeIDError) as caught:
        SpiffeID("spiffe://U@A:1//../b%/?q#f")
    assert [finding.reason.id for finding in caught.value.findings] == [
        "id-user-info",
        "id-port",
        "id-trust-domain-case",
        "id-query",
        "id-fragment",
        "id-path-trailing-slash",
        "id-path-empty-segment",
        "id-path-dot-segment",
        "id-path-characters",
    ]
    assert str(caught.value).endswith("(and 8 more)")


def test_messages_are_one_printable_line() -> None:
    with pytest.raises(SpiffeIDError) as caught:
        SpiffeID("http://\n\x1b[31m" + "x" * 500)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("path", "reserved"),
    [("/spire", True), ("/spire/server", True), ("/spirex", False), ("/x/spire", False), ("", False)],
)
def test_the_reserved_namespace(path: str, reserved: bool) -> None:
    assert SpiffeID.from_path(A, path).reserved is reserved


def test_ids_of_servers_and_agents() -> None:
    assert server_id(A).text == "spiffe://a.test/spire/server"
    assert is_agent_id(SpiffeID("spiffe://a.test/spire/agent/join_token/x"))
    assert not is_agent_id(server_id(A))
    assert not is_agent_id(SpiffeID("spiffe://a.test/spire/agent"))


def test_cutting_never_decodes() -> None:
    parts = cut("spiffe://u@h:1/a%2Fb?q#f")
    assert (parts.userinfo, parts.name, parts.port, parts.path, parts.rest) == (
        "u",
        "h",
        "1",
        "/a%2Fb",
        "?q#f",
    )

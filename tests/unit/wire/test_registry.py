"""Registration entries and their parts, to messages and back; garbage names its field."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.entry import RegistrationEntry
from finial.core.errors import EntryError, RefusedError, SelectorError, SpiffeIDError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector, SetMatch
from finial.wire import registry
from finial.wire.gen import spire_api_types as types
from finial.wire.methods import decoder
from finial.wire.registry import SetFilter

_WEB = SpiffeID("spiffe://example.org/web")
_NODE = SpiffeID("spiffe://example.org/node")
_UID = Selector("unix", "uid:0")
_FULL = RegistrationEntry(
    id="e-1",
    spiffe_id=_WEB,
    parent_id=_NODE,
    selectors=(_UID, Selector("unix", "gid:0")),
    x509_svid_ttl=timedelta(minutes=1),
    jwt_svid_ttl=timedelta(minutes=2),
    federates_with=(TrustDomain("b.test"), TrustDomain("a.test")),
    dns_names=("z.example.org", "a.example.org"),
    hint="internal",
    admin=True,
    downstream=True,
    store_svid=False,
    disable_x509_svid_prefetch=True,
    jwt_svid_include_jti=True,
    expires_at=datetime(2030, 1, 1, tzinfo=UTC),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    revision=7,
)


def _message() -> types.Entry:
    return types.Entry(
        id="e",
        spiffe_id=types.SPIFFEID(trust_domain="example.org", path="/web"),
        parent_id=types.SPIFFEID(trust_domain="example.org", path="/node"),
        selectors=[types.Selector(type="unix", value="uid:0")],
    )


def test_a_full_entry_goes_there_and_back() -> None:
    message = registry.entry_message(_FULL)
    assert {field.name for field, _ in message.ListFields()} == {
        field.name for field in types.Entry.DESCRIPTOR.fields
    } - {"store_svid"}
    assert message.expires_at == 1893456000
    assert list(message.federates_with) == ["a.test", "b.test"]
    assert list(message.dns_names) == ["z.example.org", "a.example.org"]
    assert registry.read_entry(message) == _FULL
    assert registry.decode_entry(message.SerializeToString()) == _FULL


@pytest.mark.parametrize("attribute", ["disable_x509_svid_prefetch", "jwt_svid_include_jti"])
def test_the_rare_switches_are_told_apart(attribute: str) -> None:
    message = _message()
    setattr(message.additional_attributes, attribute, True)
    entry = registry.read_entry(message)
    assert getattr(entry, attribute)
    assert registry.entry_message(entry) == message


def test_what_is_not_set_is_zero_and_absent() -> None:
    entry = registry.read_entry(_message())
    assert entry == RegistrationEntry(id="e", spiffe_id=_WEB, parent_id=_NODE, selectors=(_UID,))
    message = registry.entry_message(entry)
    assert message == _message()
    assert not message.HasField("additional_attributes")


def test_an_entry_that_no_message_can_hold_is_refused() -> None:
    fields = {"id": "e", "spiffe_id": _WEB, "parent_id": _NODE, "selectors": (_UID,)}
    for odd in ({"x509_svid_ttl": timedelta(days=365 * 70)}, {"hint": "a\udcff"}):
        with pytest.raises(EntryError, match="the entry cannot be encoded") as caught:
            registry.entry_message(RegistrationEntry(**{**fields, **odd}))  # type: ignore[arg-type]
        assert caught.value.reason is registry.UNSAYABLE


def test_every_field_that_cannot_be_read_is_named() -> None:
    message = types.Entry(
        id="e",
        spiffe_id=types.SPIFFEID(trust_domain="Example.org", path="/web"),
        parent_id=types.SPIFFEID(trust_domain="example.org", path="node"),
        selectors=[
            types.Selector(type="unix", value="uid:0"),
            types.Selector(type="a:b"),
            types.Selector(value="v"),
        ],
        federates_with=["good.test", "bad/test"],
        expires_at=-1,
        created_at=253_402_300_800,  # the first second after the year 9999
    )
    with pytest.raises(EntryError) as caught:
        registry.read_entry(message)
    assert [finding.where for finding in caught.value.findings] == [
        "spiffe_id", "parent_id", "selectors[1]", "selectors[1]", "selectors[2]", "federates_with[1]",
        "expires_at", "created_at",
    ]  # fmt: skip
    assert "of the year" not in str(caught.value)


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(EntryError, match="spiffe_id: ") as caught:
        registry.read_entry(types.Entry())
    assert {finding.where for finding in caught.value.findings} == {"spiffe_id", "parent_id"}


def test_a_broken_rule_is_named_by_its_field() -> None:
    message = _message()
    message.x509_svid_ttl = -1
    message.revision_number = -1
    with pytest.raises(EntryError) as caught:
        registry.read_entry(message)
    assert [finding.where for finding in caught.value.findings] == ["x509_svid_ttl", "revision_number"]


def test_bytes_that_are_no_entry() -> None:
    with pytest.raises(EntryError, match=r"no spire\.api\.types\.Entry") as caught:
        registry.decode_entry(b"\xff")
    assert caught.value.reason is registry.UNREADABLE


def test_ids() -> None:
    assert registry.id_message(_WEB) == types.SPIFFEID(trust_domain="example.org", path="/web")
    assert registry.read_id(registry.id_message(_WEB)) == _WEB
    domain = types.SPIFFEID(trust_domain="spiffe://example.org")
    assert registry.read_id(domain) == SpiffeID("spiffe://example.org")
    with pytest.raises(SpiffeIDError, match="^by_parent_id: ") as caught:
        registry.read_id(types.SPIFFEID(), "by_parent_id")
    assert caught.value.findings[0].where == "by_parent_id"


def test_domains() -> None:
    assert registry.read_domain("example.org") == registry.read_domain("spiffe://example.org")
    with pytest.raises(SpiffeIDError, match="^trust_domain: "):
        registry.read_domain("spiffe://example.org/web")


def test_selectors() -> None:
    given = (_UID, Selector("a", "b:c"), _UID)
    assert registry.read_selectors(registry.selector_messages(given)) == given
    with pytest.raises(SelectorError, match=r"^selectors\[0\]: "):
        registry.read_selectors([types.Selector(type="a")])


def test_a_finding_keeps_the_place_that_it_names() -> None:
    refused = EntryError.because(registry.UNREADABLE, "m", where="inner")
    assert [finding.where for finding in registry.placed(refused, "outer")] == ["outer.inner"]


@pytest.mark.parametrize("how", list(SetMatch))
def test_filters_by_sets(how: SetMatch) -> None:
    name = f"MATCH_{how.name}"
    selectors = types.SelectorMatch(
        selectors=[types.Selector(type="unix", value="uid:0")],
        match=types.SelectorMatch.MatchBehavior.Value(name),
    )
    assert registry.read_selector_match(selectors) == SetFilter(how, frozenset({_UID}))
    domains = types.FederatesWithMatch(
        trust_domains=["spiffe://a.test", "a.test"], match=types.FederatesWithMatch.MatchBehavior.Value(name)
    )
    found = registry.read_federates_with_match(domains)
    assert found == SetFilter(how, frozenset({TrustDomain("a.test")}))
    assert found.matches(frozenset({TrustDomain("a.test")}))
    more = frozenset({TrustDomain("a.test"), TrustDomain("b.test")})
    assert found.matches(more) is (how in {SetMatch.SUPERSET, SetMatch.ANY})
    assert found.matches(frozenset()) is False


def test_empty_sets_and_unknown_comparisons() -> None:
    with pytest.raises(SelectorError, match="empty selector set"):
        registry.read_selector_match(types.SelectorMatch())
    with pytest.raises(SpiffeIDError, match="empty trust domain set"):
        registry.read_federates_with_match(types.FederatesWithMatch())
    with pytest.raises(SpiffeIDError, match=r"trust_domains\[1\]"):
        registry.read_federates_with_match(types.FederatesWithMatch(trust_domains=["a", "B"]))
    odd = b"\x10\x09"
    selectors = types.SelectorMatch.FromString(odd)
    selectors.selectors.add(type="a", value="b")
    with pytest.raises(SelectorError, match="match: comparison 9 is unknown"):
        registry.read_selector_match(selectors)
    domains = types.FederatesWithMatch.FromString(odd)
    domains.trust_domains.append("a")
    with pytest.raises(SpiffeIDError, match="match: comparison 9 is unknown"):
        registry.read_federates_with_match(domains)


_texts = st.text(max_size=6) | st.sampled_from(["example.org", "/a", "unix", "b.test", "spiffe://c.test"])
_ids = st.builds(lambda domain, path: types.SPIFFEID(trust_domain=domain, path=path), _texts, _texts)
_numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9)


@st.composite
def _messages(draw: st.DrawFn) -> types.Entry:
    return types.Entry(
        id=draw(_texts), spiffe_id=draw(st.none() | _ids), parent_id=draw(st.none() | _ids),
        selectors=[
            types.Selector(type=draw(_texts), value=draw(_texts)) for _ in range(draw(st.integers(0, 2)))
        ],
        federates_with=draw(st.lists(_texts, max_size=2)), dns_names=draw(st.lists(_texts, max_size=2)),
        x509_svid_ttl=draw(st.integers(-(2**31), 2**31 - 1)), expires_at=draw(_numbers),
        created_at=draw(_numbers), revision_number=draw(_numbers), store_svid=draw(st.booleans()),
    )  # fmt: skip


@given(_messages())
def test_reading_any_message_is_total(message: types.Entry) -> None:
    try:
        entry = registry.read_entry(message)
    except EntryError:
        return
    assert registry.read_entry(registry.entry_message(entry)) == entry


@given(st.binary(max_size=100))
def test_reading_any_bytes_is_total(data: bytes) -> None:
    def attempts() -> Iterator[Callable[[], object]]:
        # What is no message at all never reaches the readers; what is one must not make them raise otherwise.
        with contextlib.suppress(ValueError):
            match = decoder(types.SelectorMatch)(data)
            yield lambda: registry.read_selector_match(match)
        with contextlib.suppress(ValueError):
            domains = decoder(types.FederatesWithMatch)(data)
            yield lambda: registry.read_federates_with_match(domains)
        with contextlib.suppress(ValueError):
            spiffe_id = decoder(types.SPIFFEID)(data)
            yield lambda: registry.read_id(spiffe_id)
        yield lambda: registry.decode_entry(data)

    for attempt in list(attempts()):
        try:
            attempt()
        except RefusedError as refused:
            assert refused.findings  # noqa: PT017 - a refusal is one of the two good outcomes

"""Masks: absent is everything, empty is the key alone; updates replace what is selected."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from finial.wire import masks
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types

_ID = types.SPIFFEID(trust_domain="example.org", path="/a")
_SELECTORS = [types.Selector(type="unix", value="uid:0"), types.Selector(type="unix", value="gid:0")]


def _entry() -> types.Entry:
    return types.Entry(
        id="e", spiffe_id=_ID, parent_id=_ID, selectors=_SELECTORS, x509_svid_ttl=1, federates_with=["b"],
        admin=True, downstream=True, expires_at=2, dns_names=["d"], revision_number=3, store_svid=True,
        jwt_svid_ttl=4, hint="h", created_at=5,
        additional_attributes=types.Entry.AdditionalAttributes(jwt_svid_include_jti=True),
    )  # fmt: skip


def _agent() -> types.Agent:
    return types.Agent(
        id=_ID, attestation_type="t", x509svid_serial_number="1", x509svid_expires_at=2, selectors=_SELECTORS,
        banned=True, can_reattest=True, agent_version="v",
    )  # fmt: skip


def _bundle() -> types.Bundle:
    return types.Bundle(
        trust_domain="example.org", x509_authorities=[types.X509Certificate(asn1=b"x")],
        jwt_authorities=[types.JWTKey(key_id="k")], refresh_hint=1, sequence_number=2,
        wit_authorities=[types.WITKey(key_id="k")],
    )  # fmt: skip


_KINDS = [
    (_entry(), types.EntryMask(), "id"),
    (_agent(), types.AgentMask(), "id"),
    (_bundle(), types.BundleMask(), "trust_domain"),
]


@pytest.mark.parametrize(("message", "mask", "key"), _KINDS)
def test_a_mask_has_every_field_but_the_key(message: Message, mask: Message, key: str) -> None:
    fields = {field.name for field in message.DESCRIPTOR.fields}
    assert {field.name for field, _ in message.ListFields()} == fields
    assert {field.name for field in mask.DESCRIPTOR.fields} == fields - {key}


@pytest.mark.parametrize(("message", "mask", "key"), _KINDS)
def test_each_field_is_selected_by_its_name(message: Message, mask: Message, key: str) -> None:
    for field in mask.DESCRIPTOR.fields:
        copy, one = type(message)(), type(mask)(**{field.name: True})
        copy.CopyFrom(message)
        assert masks.cut(copy, one) is copy
        assert {each.name for each, _ in copy.ListFields()} == {key, field.name}


@pytest.mark.parametrize(("message", "mask", "key"), _KINDS)
def test_absent_is_everything_and_empty_is_the_key(message: Message, mask: Message, key: str) -> None:
    copy = type(message)()
    copy.CopyFrom(message)
    assert masks.cut(copy, None) == message
    assert [field.name for field, _ in masks.cut(copy, mask).ListFields()] == [key]


def test_the_mask_of_a_request_is_absent_or_there() -> None:
    assert masks.output_mask(entry_pb.GetEntryRequest()) is None
    request = entry_pb.GetEntryRequest(output_mask=types.EntryMask())
    assert masks.output_mask(request) == types.EntryMask()
    request.output_mask.hint = True
    assert masks.output_mask(request) == types.EntryMask(hint=True)


def test_agents_ask_for_what_they_ask_for() -> None:
    assert masks.selected(masks.agent_mask()) == masks.AGENT_FIELDS
    others = {"parent_id", "x509_svid_ttl", "expires_at", "dns_names", "jwt_svid_ttl"}
    assert masks.selected(masks.inverse(masks.agent_mask())) == others
    assert masks.selected(types.EntryMask(hint=False)) == frozenset()


def test_an_update_takes_what_is_selected_and_nothing_else() -> None:
    new = types.Entry(id="e", selectors=_SELECTORS[:1], hint="other", x509_svid_ttl=9)
    old = _entry()
    result = masks.merged(old, new, types.EntryMask(selectors=True, hint=True, parent_id=True, admin=True))
    expected = _entry()
    del expected.selectors[1:]
    expected.hint = "other"
    expected.ClearField("parent_id")
    expected.ClearField("admin")
    assert result == expected
    assert old == _entry()
    assert new.x509_svid_ttl == 9


def test_an_update_without_a_mask_takes_everything() -> None:
    new = types.Entry(id="e", hint="other")
    assert masks.merged(_entry(), new, None) == new
    assert masks.merged(_entry(), new, types.EntryMask()) == _entry()

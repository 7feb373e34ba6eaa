"""Messages as JSON: the form that SPIRE's programs print, one text for one message."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import FinialError, Kind
from finial.wire.gen import google_protobuf, google_rpc, workload
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.jsontext import to_json
from finial.wire.methods import decoder
from finial.wire.status import pack


def test_names_zero_values_and_large_numbers() -> None:
    entry = types.Entry(id="e", spiffe_id=types.SPIFFEID(trust_domain="example.org"), created_at=2**40)
    assert to_json(entry) == (
        '{"admin":false,"created_at":"1099511627776","dns_names":[],"downstream":false,"expires_at":"0",'
        '"federates_with":[],"hint":"","id":"e","jwt_svid_ttl":0,"revision_number":"0","selectors":[],'
        '"spiffe_id":{"path":"","trust_domain":"example.org"},"store_svid":false,"x509_svid_ttl":0}'
    )


def test_an_absent_message_is_left_out_and_an_empty_one_is_not() -> None:
    assert "additional_attributes" not in json.loads(to_json(types.Entry()))
    entry = types.Entry(additional_attributes=types.Entry.AdditionalAttributes())
    attributes = json.loads(to_json(entry))["additional_attributes"]
    assert attributes == {"disable_x509_svid_prefetch": False, "jwt_svid_include_jti": False}


def test_bytes_enums_and_wrappers() -> None:
    certificate = types.X509Certificate(asn1=b"\x00\xff", tainted=True)
    assert to_json(certificate) == '{"asn1":"AP8=","tainted":true}'
    details = types.PermissionDeniedDetails(reason=types.PermissionDeniedDetails.AGENT_BANNED)
    assert to_json(details) == '{"reason":"AGENT_BANNED"}'
    filters = entry_pb.ListEntriesRequest.Filter(by_downstream=google_protobuf.BoolValue(value=False))
    assert json.loads(to_json(filters)) == {"by_downstream": False}


def test_text_that_is_not_ascii_and_line_breaks_stay_on_one_line() -> None:
    text = to_json(types.Entry(hint="é\n\u2028"))
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text)["hint"] == "é\n\u2028"


def test_a_message_of_ours_inside_any_is_printed() -> None:
    message = google_rpc.Status(details=[pack(types.SPIFFEID(path="/a"))])
    assert json.loads(to_json(message))["details"] == [
        {"@type": "type.googleapis.com/spire.api.types.SPIFFEID", "path": "/a", "trust_domain": ""}
    ]


def test_what_json_cannot_say_is_an_error_of_ours() -> None:
    reply = workload.ValidateJWTSVIDResponse()
    reply.claims.fields["a"].number_value = float("nan")
    with pytest.raises(FinialError, match="ValidateJWTSVIDResponse has no form in JSON") as caught:
        to_json(reply)
    assert caught.value.reason.kind is Kind.INVALID
    unknown = google_rpc.Status(details=[google_protobuf.Any(type_url="type.googleapis.com/no.Such")])
    with pytest.raises(FinialError, match="no form in JSON"):
        to_json(unknown)


@given(st.binary(max_size=200))
def test_printing_is_total(data: bytes) -> None:
    try:
        message = decoder(workload.ValidateJWTSVIDResponse)(data)
        text = to_json(message)
    except (ValueError, FinialError):
        return
    assert json.loads(text).keys() >= {"spiffe_id"}

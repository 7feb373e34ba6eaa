"""Messages of the Broker API: references there and back, and refusals that programs can read."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.broker import ObjectKey, ObjectReference, PIDReference, Reference, Refusal
from finial.rpc.status import RpcError, StatusCode
from finial.wire import broker
from finial.wire.gen import google_protobuf, google_rpc
from finial.wire.gen import spiffe_broker as pb
from finial.wire.status import read_details, rpc_error

UID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PID_URL = "type.googleapis.com/spiffe.broker.WorkloadPIDReference"
OBJECT_URL = "type.googleapis.com/spiffe.broker.KubernetesObjectReference"


def packed(url: str, value: bytes = b"") -> pb.WorkloadReference:
    return pb.WorkloadReference(reference=google_protobuf.Any(type_url=url, value=value))


def refused(message: pb.WorkloadReference) -> str:
    with pytest.raises(RpcError) as caught:
        broker.read_reference(message)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
    assert broker.refusal_of(caught.value) is Refusal.REFERENCE_INVALID
    return caught.value.message


@pytest.mark.parametrize(
    "reference",
    [
        PIDReference(7),
        ObjectReference(plural="pods", group="core", key=ObjectKey("web", "shop"), uid=UID),
        ObjectReference(plural="pods", group="core", uid=UID),
        ObjectReference(plural="nodes", group="core", key=ObjectKey("n")),
    ],
)
def test_references_there_and_back(reference: Reference) -> None:
    message = broker.reference_message(reference)
    assert message.reference.type_url == f"type.googleapis.com/{reference.type}"
    again = pb.WorkloadReference.FromString(message.SerializeToString())
    assert broker.read_reference(again) == reference


@pytest.mark.parametrize(
    "url",
    [PID_URL, "example.com/x/spiffe.broker.WorkloadPIDReference", "/spiffe.broker.WorkloadPIDReference"],
)
def test_the_name_behind_the_last_slash_counts(url: str) -> None:
    value = pb.WorkloadPIDReference(pid=7).SerializeToString()
    assert broker.read_reference(packed(url, value)) == PIDReference(7)


def test_references_that_are_refused() -> None:
    assert "refers to no workload" in refused(pb.WorkloadReference())
    assert "refers to no workload" in refused(packed("", b"\x08\x07"))
    for url in ("type.googleapis.com/spiffe.broker.Other", "x", "a/", f"{PID_URL}/", PID_URL.upper()):
        assert "are unknown" in refused(packed(url, b"\x08\x07"))
    for url in (PID_URL, OBJECT_URL):
        assert "the bytes are no spiffe.broker." in refused(packed(url, b"\xff"))
    assert refused(packed(PID_URL)) == "0 is no process id"
    minus = pb.WorkloadPIDReference(pid=-1).SerializeToString()
    assert refused(packed(PID_URL, minus)) == "-1 is no process id"
    assert "the type has no plural and no group" in refused(packed(OBJECT_URL))
    bare = pb.KubernetesObjectReference(
        type=pb.KubernetesObjectType(plural="pods", group="core"), key=pb.KubernetesObjectKey()
    )
    assert "the key has no name" in refused(packed(OBJECT_URL, bare.SerializeToString()))


@given(st.sampled_from([PID_URL, OBJECT_URL, "x/y"]), st.binary(max_size=80))
def test_reading_is_total(url: str, value: bytes) -> None:
    with contextlib.suppress(RpcError):
        found = broker.read_reference(packed(url, value))
        assert broker.read_reference(broker.reference_message(found)) == found


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal.REFERENCE_INVALID, StatusCode.INVALID_ARGUMENT),
        (Refusal.NOT_FOUND, StatusCode.NOT_FOUND),
        (Refusal.NOT_ENTITLED, StatusCode.PERMISSION_DENIED),
    ],
)
def test_refusals_carry_their_reason(refusal: Refusal, code: StatusCode) -> None:
    error = broker.refused(refusal, "why", {"pid": "7"})
    assert (error.code, error.message) == (code, "why")
    assert read_details(error.details).find(google_rpc.ErrorInfo) == google_rpc.ErrorInfo(
        reason=refusal.value, domain="spiffe.io", metadata={"pid": "7"}
    )
    assert broker.refusal_of(error) is refusal
    assert broker.refusal_of(broker.refused(refusal, "why")) is refusal


def test_an_error_need_not_say_why() -> None:
    def error(*details: google_rpc.ErrorInfo) -> RpcError:
        return rpc_error(StatusCode.PERMISSION_DENIED, "no", *details)

    assert broker.refusal_of(error()) is None
    other = google_rpc.ErrorInfo(reason="WORKLOAD_NOT_FOUND", domain="example.com")
    assert broker.refusal_of(error(other)) is None
    assert broker.refusal_of(error(google_rpc.ErrorInfo(reason="NEW", domain="spiffe.io"))) is None


def test_the_security_header() -> None:
    broker.check_header((("broker.spiffe.io", "true"), ("other", b"x")))
    for metadata in (
        (),
        (("broker.spiffe.io", "True"),),
        (("broker.spiffe.io", ""),),
        (("broker.spiffe.io", "true"),) * 2,
        (("workload.spiffe.io", "true"),),
    ):
        with pytest.raises(RpcError) as caught:
            broker.check_header(metadata)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT

"""The Broker API as far as it decides and does not serve: references, policy, errors, addresses, messages."""

from __future__ import annotations

import pytest

from finial.core.broker import (
    HEADER,
    OBJECT_TYPE,
    PID_TYPE,
    AllowedBroker,
    BrokerPolicy,
    ObjectKey,
    ObjectReference,
    PIDReference,
    Refusal,
)
from finial.core.endpoint import AddressError, TcpEndpoint, UnixEndpoint, parse_endpoint
from finial.core.errors import BrokerError
from finial.core.ids import SpiffeID
from finial.rpc.status import RpcError, StatusCode
from finial.wire import broker, pool
from finial.wire.gen import google_protobuf, google_rpc
from finial.wire.gen import spiffe_broker as pb
from finial.wire.status import error_from, read_details

UID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PROXY = SpiffeID("spiffe://example.org/proxy")
REFERENCE, STREAM = "spiffe.broker.WorkloadReference reference=1", True
# The tables of the standard: each field with its type and number.
MESSAGES = {
    "WorkloadReference": ["google.protobuf.Any reference=1"],
    "WorkloadPIDReference": ["int32 pid=1"],
    "KubernetesObjectType": ["string plural=1", "string group=2"],
    "KubernetesObjectKey": ["string namespace=1", "string name=2"],
    "KubernetesObjectReference": [
        "spiffe.broker.KubernetesObjectType type=1",
        "spiffe.broker.KubernetesObjectKey key=2",
        "string uid=3",
    ],
    "SubscribeToX509SVIDRequest": [REFERENCE],
    "SubscribeToX509SVIDResponse": [
        "repeated spiffe.broker.X509SVID svids=1",
        "repeated bytes crl=2",
        "map<string, bytes> federated_bundles=3",
    ],
    "X509SVID": [
        "string spiffe_id=1",
        "bytes x509_svid=2",
        "bytes x509_svid_key=3",
        "bytes bundle=4",
        "string hint=5",
    ],
    "SubscribeToX509BundlesRequest": [REFERENCE],
    "SubscribeToX509BundlesResponse": ["repeated bytes crl=1", "map<string, bytes> bundles=2"],
    "FetchJWTSVIDRequest": [REFERENCE, "repeated string audience=2", "string spiffe_id=3"],
    "FetchJWTSVIDResponse": ["repeated spiffe.broker.JWTSVID svids=1"],
    "JWTSVID": ["string spiffe_id=1", "string svid=2", "string hint=3"],
    "SubscribeToJWTBundlesRequest": [REFERENCE],
    "SubscribeToJWTBundlesResponse": ["map<string, bytes> bundles=1"],
}
METHODS = {
    "SubscribeToX509SVID": STREAM,
    "SubscribeToX509Bundles": STREAM,
    "FetchJWTSVID": not STREAM,
    "SubscribeToJWTBundles": STREAM,
}
_TYPES = {5: "int32", 9: "string", 12: "bytes"}


def packed(url: str, value: bytes = b"") -> pb.WorkloadReference:
    return pb.WorkloadReference(reference=google_protobuf.Any(type_url=url, value=value))


def refused(message: pb.WorkloadReference) -> RpcError:
    with pytest.raises(RpcError) as caught:
        broker.read_reference(message)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
    assert broker.refusal_of(caught.value) is Refusal.REFERENCE_INVALID
    return caught.value


def refused_object(
    plural: str = "pods", group: str = "core", *, key: pb.KubernetesObjectKey | None = None, uid: str = ""
) -> RpcError:
    kind = pb.KubernetesObjectType(plural=plural, group=group)
    message = pb.KubernetesObjectReference(type=kind, uid=uid)
    if key is not None:
        message.key.CopyFrom(key)
    return refused(packed(f"type.googleapis.com/{OBJECT_TYPE}", message.SerializeToString()))


def shape(name: str) -> list[str]:
    found = []
    for field in pool.message_class(f"spiffe.broker.{name}").DESCRIPTOR.fields:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            key, value = (_TYPES[entry.fields_by_name[each].type] for each in ("key", "value"))
            kind = f"map<{key}, {value}>"
        else:
            kind = _TYPES[field.type] if entry is None else entry.full_name
            kind = f"repeated {kind}" if field.is_repeated else kind
        found.append(f"{kind} {field.name}={field.number}")
    return found


@pytest.mark.spec("BROKER-24", "BROKER-28", "BROKER-29", "BROKER-88")
def test_the_service_is_the_published_one_and_nothing_more() -> None:
    service = pool.service_descriptor("spiffe.broker.API")
    assert {each.name: each.server_streaming for each in service.methods} == METHODS
    assert not any(each.client_streaming for each in service.methods)
    for each in service.methods:
        names = (each.input_type.full_name, each.output_type.full_name)
        assert names == (f"spiffe.broker.{each.name}Request", f"spiffe.broker.{each.name}Response")
    assert list(service.file.services_by_name) == ["API"]
    assert {name: shape(name) for name in service.file.message_types_by_name} == MESSAGES


@pytest.mark.spec("BROKER-10", "BROKER-11", "BROKER-85", "BROKER-12")
def test_addresses() -> None:
    assert parse_endpoint("unix:///run/broker.sock", names=True) == UnixEndpoint(b"/run/broker.sock")
    assert parse_endpoint("tcp://127.0.0.1:8000", names=True) == TcpEndpoint("127.0.0.1", 8000)
    assert parse_endpoint("tcp://broker.example.com:8443", names=True) == TcpEndpoint(
        "broker.example.com", 8443
    )
    for text in (
        "/run/broker.sock", "http://a:1", "unix://host/a", "unix:a", "unix:", "unix:///a?q", "unix:///a#f",
        "tcp://127.0.0.1:8000/foo", "tcp://127.0.0.1", "tcp://:1", "tcp://a:1?q", "tcp://u@a:1",
    ):  # fmt: skip
        with pytest.raises(AddressError):
            parse_endpoint(text, names=True)


@pytest.mark.spec("BROKER-06", "BROKER-17")
@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("broker.spiffe.io", "True"),),
        (("broker.spiffe.io", ""),),
        (("broker.spiffe.io", "true"), ("broker.spiffe.io", "true")),
        (("workload.spiffe.io", "true"),),
    ],
)
def test_a_call_without_the_header_is_refused(metadata: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(RpcError) as caught:
        broker.check_header(metadata)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
    broker.check_header((*(each for each in metadata if each[0] != HEADER), (HEADER, "true")))


@pytest.mark.spec("BROKER-34", "BROKER-62")
def test_a_reference_has_to_be_one_that_is_understood() -> None:
    sound = pb.WorkloadPIDReference(pid=7).SerializeToString()
    refused(pb.WorkloadReference())
    refused(packed("", sound))
    refused(packed("type.googleapis.com/spiffe.broker.Unknown", sound))
    refused(packed(f"type.googleapis.com/{PID_TYPE}", b"\xff\xff"))
    # Both readings of what has to be in front of the name.
    for prefix in ("type.googleapis.com/", "other.example/x/"):
        assert broker.read_reference(packed(prefix + PID_TYPE, sound)) == PIDReference(7)


@pytest.mark.spec("BROKER-38", "BROKER-62")
@pytest.mark.parametrize("pid", [0, -1, -(2**31)])
def test_a_process_id_is_positive(pid: int) -> None:
    refused(packed(f"x/{PID_TYPE}", pb.WorkloadPIDReference(pid=pid).SerializeToString()))


@pytest.mark.spec("BROKER-40", "BROKER-41", "BROKER-42", "BROKER-45", "BROKER-62")
def test_objects_are_named_as_the_standard_says() -> None:
    web = pb.KubernetesObjectKey(namespace="shop", name="web")
    for plural, group in (("", "core"), ("pods", ""), ("", "")):
        refused_object(plural, group, key=web)
    refused_object(key=pb.KubernetesObjectKey(namespace="shop"))
    refused_object(key=pb.KubernetesObjectKey(name="web"))
    refused_object("nodes", key=web)
    refused_object()
    for uid in ("7", UID.replace("-", ""), UID + "0", UID.upper()):
        refused_object(key=web, uid=uid)
    for reference in (
        ObjectReference(plural="pods", group="core", key=ObjectKey("web", "shop")),
        ObjectReference(plural="pods", group="core", uid=UID),
        ObjectReference(plural="nodes", group="core", key=ObjectKey("one"), uid=UID),
    ):
        assert broker.read_reference(broker.reference_message(reference)) == reference


@pytest.mark.spec("BROKER-14", "BROKER-15", "BROKER-22", "BROKER-31", "BROKER-48", "BROKER-49", "BROKER-50")
def test_who_is_not_named_is_refused() -> None:
    with pytest.raises(BrokerError):
        BrokerPolicy(())
    both = frozenset({PID_TYPE, OBJECT_TYPE})
    policy = BrokerPolicy((AllowedBroker(PROXY, both, frozenset({OBJECT_TYPE})),))
    policy.check(PROXY, PID_TYPE, remote=False)
    policy.check(PROXY, OBJECT_TYPE, remote=True)
    for caller, reference_type, remote in (
        (SpiffeID("spiffe://example.org/web"), PID_TYPE, False),
        (SpiffeID("spiffe://other.example/proxy"), PID_TYPE, False),
        (PROXY, PID_TYPE, True),
        (PROXY, "vendor.Reference", False),
    ):
        with pytest.raises(BrokerError) as caught:
            policy.check(caller, reference_type, remote=remote)
        assert error_from(caught.value).code is StatusCode.PERMISSION_DENIED


@pytest.mark.spec("BROKER-65", "BROKER-66", "BROKER-93")
@pytest.mark.parametrize(
    ("refusal", "code", "reason"),
    [
        (Refusal.REFERENCE_INVALID, StatusCode.INVALID_ARGUMENT, "WORKLOAD_REFERENCE_INVALID"),
        (Refusal.NOT_FOUND, StatusCode.NOT_FOUND, "WORKLOAD_NOT_FOUND"),
        (Refusal.NOT_ENTITLED, StatusCode.PERMISSION_DENIED, "WORKLOAD_NOT_ENTITLED"),
    ],
)
def test_errors_say_why(refusal: Refusal, code: StatusCode, reason: str) -> None:
    error = broker.refused(refusal, "text", {"pid": "7"})
    assert error.code is code
    info = read_details(error.details).find(google_rpc.ErrorInfo)
    assert info == google_rpc.ErrorInfo(reason=reason, domain="spiffe.io", metadata={"pid": "7"})
    assert broker.refusal_of(error) is refusal
    assert broker.refusal_of(RpcError(code, "text")) is None

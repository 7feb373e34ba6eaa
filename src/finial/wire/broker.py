"""Messages of the Broker API: references to workloads as values, and refusals as programs read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from finial.core.broker import (
    ERROR_DOMAIN,
    HEADER,
    KIND_OF_REFUSAL,
    OBJECT_TYPE,
    PID_TYPE,
    ObjectKey,
    ObjectReference,
    PIDReference,
    Reference,
    Refusal,
)
from finial.core.errors import BrokerError, Kind, Reason, shown
from finial.rpc.status import RpcError, StatusCode
from finial.wire.gen import google_rpc
from finial.wire.gen import spiffe_broker as broker_pb
from finial.wire.methods import decoder
from finial.wire.status import CODE_OF_KIND, pack, read_details, rpc_error

REFERENCE_MISSING: Final = Reason(
    "broker-reference-missing",
    Kind.INVALID,
    ("BROKER-34", "BROKER-62", "BROKER-70"),
    "Name the workload that the request is for.",
    "The request of a broker refers to no workload.",
)
REFERENCE_TYPE: Final = Reason(
    "broker-reference-type",
    Kind.INVALID,
    ("BROKER-34", "BROKER-62"),
    "Use a type of reference that this endpoint knows.",
    "A broker refers to a workload by a type of reference that is unknown here.",
)
REFERENCE_UNREADABLE: Final = Reason(
    "broker-reference-unreadable",
    Kind.INVALID,
    ("BROKER-34", "BROKER-62"),
    meaning="A reference to a workload is not what its type says.",
)

_read_pid = decoder(broker_pb.WorkloadPIDReference)
_read_object = decoder(broker_pb.KubernetesObjectReference)


def check_header(metadata: Iterable[tuple[str, object]]) -> None:
    """Return when a call has the security header, exactly once, with the value `true`.

    Args:
        metadata: Of the call.

    Raises:
        RpcError: INVALID_ARGUMENT, it has not. Clauses: BROKER-06, BROKER-17.
    """
    if [value for key, value in metadata if key == HEADER] != ["true"]:
        raise RpcError(StatusCode.INVALID_ARGUMENT, "security header missing from request")


def read_reference(message: broker_pb.WorkloadReference) -> Reference:
    """The reference in a request; to be read before anything else of it. Clauses: BROKER-61.

    Of the URL of its type, what stands behind the last slash counts.

    Args:
        message: Empty where the request has none.

    Raises:
        RpcError: INVALID_ARGUMENT with the reason, it is missing, of an unknown type, or malformed. Clauses:
            BROKER-34, BROKER-38, BROKER-40..BROKER-42, BROKER-45, BROKER-62.
    """
    try:
        return _read(message)
    except BrokerError as error:
        raise refused(Refusal.REFERENCE_INVALID, str(error)) from error


def reference_message(reference: Reference) -> broker_pb.WorkloadReference:
    """A reference, packed for a request."""
    message = broker_pb.WorkloadReference()
    if isinstance(reference, PIDReference):
        message.reference.CopyFrom(pack(broker_pb.WorkloadPIDReference(pid=reference.pid)))
        return message
    kind = broker_pb.KubernetesObjectType(plural=reference.plural, group=reference.group)
    packed = broker_pb.KubernetesObjectReference(type=kind, uid=reference.uid)
    if reference.key is not None:
        place = broker_pb.KubernetesObjectKey(namespace=reference.key.namespace, name=reference.key.name)
        packed.key.CopyFrom(place)
    message.reference.CopyFrom(pack(packed))
    return message


def refused(refusal: Refusal, message: str, metadata: Mapping[str, str] | None = None) -> RpcError:
    """The error that a broker is given, with the reason for programs. Clauses: BROKER-62..BROKER-65.

    Args:
        refusal: Why.
        message: One line for people.
        metadata: What it is about, `pid` for example; None for nothing.
    """
    code = CODE_OF_KIND[KIND_OF_REFUSAL[refusal]]
    info = google_rpc.ErrorInfo(reason=refusal.value, domain=ERROR_DOMAIN, metadata=metadata or {})
    return rpc_error(code, message, info)


def refusal_of(error: RpcError) -> Refusal | None:
    """Why a broker was refused; None when the error does not say, which a broker has to live with.

    Clauses: BROKER-66, BROKER-93.
    """
    info = read_details(error.details).find(google_rpc.ErrorInfo)
    if info is None or info.domain != ERROR_DOMAIN:
        return None
    return next((each for each in Refusal if each.value == info.reason), None)


def _read(message: broker_pb.WorkloadReference) -> Reference:
    """The reference in a message.

    Raises:
        BrokerError: It is missing, of an unknown type, or malformed.
    """
    packed = message.reference
    if not packed.type_url:
        raise BrokerError.because(REFERENCE_MISSING, "the request refers to no workload")
    name = packed.type_url.rpartition("/")[2]
    read = _READERS.get(name)
    if read is None:
        raise BrokerError.because(REFERENCE_TYPE, f"references of type {shown(name)} are unknown")
    try:
        return read(packed.value)
    except ValueError as error:
        raise BrokerError.because(REFERENCE_UNREADABLE, str(error)) from error


def _process(data: bytes) -> PIDReference:
    return PIDReference(_read_pid(data).pid)


def _object(data: bytes) -> ObjectReference:
    message = _read_object(data)
    key = ObjectKey(message.key.name, message.key.namespace) if message.HasField("key") else None
    return ObjectReference(plural=message.type.plural, group=message.type.group, key=key, uid=message.uid)


_READERS: Final[Mapping[str, Callable[[bytes], Reference]]] = MappingProxyType(
    {PID_TYPE: _process, OBJECT_TYPE: _object}
)

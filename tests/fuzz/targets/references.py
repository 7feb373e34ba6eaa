"""References of brokers to workloads: a value that packs again, or INVALID_ARGUMENT with its reason."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.core.broker import OBJECT_TYPE, PID_TYPE, ObjectKey, ObjectReference, PIDReference, Refusal
from finial.core.errors import BrokerError
from finial.rpc.status import RpcError, StatusCode
from finial.wire import broker
from finial.wire.gen import google_protobuf, google_rpc
from finial.wire.gen import spiffe_broker as pb
from finial.wire.methods import decoder
from finial.wire.status import rpc_error
from fuzz.target import Target, refused_well, settled

_UID = "0f8fad5b-d9cb-469f-a165-70867728950e"
_TYPES = [PID_TYPE, OBJECT_TYPE, "spiffe.broker.Other", ""]
_WORDS = (
    "pods", "nodes", "core", "apps", "example.com", "web", "shop", ".", "..", "a/b", "", "X", "%2e", "x" * 64,
    _UID,
)  # fmt: skip
_decode = decoder(pb.WorkloadReference)


def check(data: bytes) -> None:
    assert broker.refusal_of(RpcError(StatusCode.UNKNOWN, "x", details=data)) in {None, *Refusal}
    try:
        message = _decode(data)
    except ValueError:
        return
    try:
        reference = broker.read_reference(message)
    except RpcError as refused:
        settled(refused, StatusCode.INVALID_ARGUMENT)
        assert broker.refusal_of(refused) is Refusal.REFERENCE_INVALID
        return
    assert broker.read_reference(broker.reference_message(reference)) == reference
    assert reference.type in _TYPES
    if isinstance(reference, ObjectReference) and reference.key is not None:
        _namespaced(reference)
        for part in (reference.key.name, reference.key.namespace, reference.plural, reference.group):
            assert part not in {".", ".."}
            assert not set(part) & set("/%?#\\ ")


def _namespaced(reference: ObjectReference) -> None:
    """Of the two sorts of kinds there are, a key is of one."""
    fitting = []
    for namespaced in (False, True):
        try:
            reference.check_namespace(namespaced=namespaced)
        except BrokerError as refused:
            refused_well(refused)
        else:
            fitting.append(namespaced)
    assert reference.key is not None
    assert fitting == [bool(reference.key.namespace)]


def corpus() -> list[bytes]:
    missing = broker.refused(Refusal.NOT_FOUND, "x", {"pid": "7"}).details
    foreign = rpc_error(StatusCode.NOT_FOUND, "x", google_rpc.ErrorInfo(reason="X", domain="y")).details
    assert missing
    assert foreign
    references = (
        PIDReference(7),
        ObjectReference(plural="pods", group="core", key=ObjectKey("web", "shop"), uid=_UID),
        ObjectReference(plural="nodes", group="core", uid=_UID),
    )
    return [*(broker.reference_message(each).SerializeToString() for each in references), missing, foreign]


def generate(source: random.Random) -> bytes:
    if source.random() < 0.3:
        value = pb.WorkloadPIDReference(pid=source.choice([0, 1, -1, 2**31 - 1])).SerializeToString()
    else:
        words = [source.choice(_WORDS) for _ in range(5)]
        message = pb.KubernetesObjectReference(uid=words[0] if source.random() < 0.5 else "")
        message.type.CopyFrom(pb.KubernetesObjectType(plural=words[1], group=words[2]))
        if source.random() < 0.7:
            message.key.CopyFrom(pb.KubernetesObjectKey(namespace=words[3], name=words[4]))
        value = message.SerializeToString()
    url = source.choice(["type.googleapis.com/", "", "x/y/"]) + source.choice(_TYPES)
    packed = pb.WorkloadReference(reference=google_protobuf.Any(type_url=url, value=value))
    return packed.SerializeToString()


_PARSER = ("finial.wire.broker", "finial.core.broker", "finial.core.rules.broker")
_OMITS = ("check_header", "ObjectReference.check_found", "BrokerPolicy")
TARGET = Target("references", corpus, check, generate, modules=_PARSER, omits=_OMITS)

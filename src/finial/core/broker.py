"""The Broker API's nouns: how a broker refers to a workload, which broker may, and how it is refused.

A broker asks for the SVIDs and bundles of somebody else. What it sends is a claim: it says where to look, and
never what is there (BROKER-36).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from finial.core.errors import BrokerError, Finding, Kind
from finial.core.ids import SpiffeID
from finial.core.reasons import broker as reasons
from finial.core.rules.broker import OBJECT, PROCESS, ObjectText, namespace_fault
from finial.core.rules.engine import Stage

HEADER: Final = "broker.spiffe.io"
"""The metadata that each call carries, with the value `true`. Clauses: BROKER-05, BROKER-06."""

ENVIRONMENT_VARIABLE: Final = "SPIFFE_BROKER_SOCKET"
ERROR_DOMAIN: Final = "spiffe.io"
PID_TYPE: Final = "spiffe.broker.WorkloadPIDReference"
OBJECT_TYPE: Final = "spiffe.broker.KubernetesObjectReference"
LOCAL_TYPES: Final = frozenset({PID_TYPE})
"""The types of reference that mean something on one machine only. Clauses: BROKER-31, BROKER-37."""


class Refusal(StrEnum):
    """Why a broker is given nothing, as programs read it. Clauses: BROKER-62..BROKER-65."""

    REFERENCE_INVALID = "WORKLOAD_REFERENCE_INVALID"
    NOT_FOUND = "WORKLOAD_NOT_FOUND"
    NOT_ENTITLED = "WORKLOAD_NOT_ENTITLED"


KIND_OF_REFUSAL: Final[Mapping[Refusal, Kind]] = MappingProxyType(
    {
        Refusal.REFERENCE_INVALID: Kind.INVALID,
        Refusal.NOT_FOUND: Kind.MISSING,
        Refusal.NOT_ENTITLED: Kind.DENIED,
    }
)
"""What sort of failure each refusal is, from which its status code follows."""


@dataclass(frozen=True, slots=True)
class PIDReference:
    """A process on the endpoint's own machine.

    Args:
        pid: From 1 to 2^31-1; of the workload itself, not of the sandbox that it runs in.

    Raises:
        BrokerError: It is none. Clauses: BROKER-38.
    """

    pid: int

    def __post_init__(self) -> None:
        findings = PROCESS.findings(self.pid, Stage.PARSE)
        if findings:
            raise BrokerError(findings)

    @property
    def type(self) -> str:
        """The full name of the type of reference."""
        return PID_TYPE


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """Where a Kubernetes object is.

    Args:
        name: Its name.
        namespace: Empty for what is of the whole cluster.
    """

    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference:
    """An object of the Kubernetes cluster that the endpoint belongs to.

    Args:
        plural: Of its kind: `pods`.
        group: Of its kind's API; `core` for core resources.
        key: Where it is; None when the UID says which it is.
        uid: A UUID in lower case; empty when the key says which it is.

    Raises:
        BrokerError: It names no object, or one that cannot be. Clauses: BROKER-40..BROKER-42, BROKER-45.
    """

    plural: str
    group: str
    key: ObjectKey | None = None
    uid: str = ""

    def __post_init__(self) -> None:
        findings = OBJECT.findings(self._text(), Stage.PARSE)
        if findings:
            raise BrokerError(findings)

    @property
    def type(self) -> str:
        """The full name of the type of reference."""
        return OBJECT_TYPE

    def check_namespace(self, *, namespaced: bool) -> None:
        """Return when the key has a namespace just if objects of its kind have.

        Of the kinds that come with Kubernetes this is known from birth; of others the control plane is asked.

        Args:
            namespaced: What it says.

        Raises:
            BrokerError: The key has one too many, or lacks it. Clauses: BROKER-41.
        """
        fault = namespace_fault(self._text(), namespaced=namespaced)
        if fault:
            raise BrokerError.because(reasons.OBJECT_NAMESPACE, fault)

    def check_found(self, uid: str) -> None:
        """Return when the object that the key led to is the one that was asked for.

        Args:
            uid: Of the object that was found, each time when something is issued for it.

        Raises:
            BrokerError: The reference has another UID. Clauses: BROKER-43, BROKER-68.
        """
        if self.uid and self.uid != uid:
            message = f"the object has the UID {uid} and not {self.uid}"
            raise BrokerError.because(reasons.OBJECT_REPLACED, message)

    def _text(self) -> ObjectText:
        key = self.key or ObjectKey("")
        return ObjectText(
            plural=self.plural,
            group=self.group,
            keyed=self.key is not None,
            namespace=key.namespace,
            name=key.name,
            uid=self.uid,
        )


Reference = PIDReference | ObjectReference


@dataclass(frozen=True, slots=True)
class AllowedBroker:
    """A broker that may ask, and by which references.

    Args:
        id: Its SPIFFE ID, exactly; of any trust domain that is federated with.
        types: Full names of the types of reference that it may use; None for all.
        remote_types: Those that it may use over TCP too. A local type among them says that the operator knows
            both ends to be on one machine.
    """

    id: SpiffeID
    types: frozenset[str] | None = None
    remote_types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BrokerPolicy:
    """Who may ask for what: nobody for anything unless it is named. Clauses: BROKER-14, BROKER-15, BROKER-48.

    Args:
        brokers: Each ID once, at least one.

    Raises:
        BrokerError: There is none, or one stands twice.
    """

    brokers: tuple[AllowedBroker, ...]
    _by_id: Mapping[SpiffeID, AllowedBroker] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_id = {broker.id: broker for broker in self.brokers}
        if not by_id:
            raise BrokerError.because(reasons.NO_BROKERS, "no broker is allowed")
        if len(by_id) != len(self.brokers):
            counts = Counter(broker.id for broker in self.brokers)
            twice = [
                f"{spiffe_id} is allowed {count} times" for spiffe_id, count in counts.items() if count > 1
            ]
            raise BrokerError([Finding(reasons.BROKER_TWICE, message) for message in twice])
        object.__setattr__(self, "_by_id", MappingProxyType(by_id))

    def ids(self) -> frozenset[SpiffeID]:
        """Whom to let in at all."""
        return frozenset(self._by_id)

    def check(self, caller: SpiffeID, reference_type: str, *, remote: bool) -> None:
        """Return when a caller may ask by a type of reference.

        Args:
            caller: As proven.
            reference_type: Its full name.
            remote: Whether it asks over TCP.

        Raises:
            BrokerError: It may not. Clauses: BROKER-22, BROKER-31, BROKER-37, BROKER-49.
        """
        broker = self._by_id.get(caller)
        if broker is None:
            raise BrokerError.because(reasons.NOT_A_BROKER, f"{caller} is no broker that may ask")
        if broker.types is not None and reference_type not in broker.types:
            message = f"{caller} may not refer to workloads by {reference_type}"
            raise BrokerError.because(reasons.TYPE_NOT_ALLOWED, message)
        if remote and reference_type not in broker.remote_types:
            message = f"{caller} may not refer to workloads by {reference_type} over TCP"
            raise BrokerError.because(reasons.TYPE_NOT_REMOTE, message)

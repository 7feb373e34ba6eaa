"""Reasons to refuse a broker, or a reference of one to a workload."""

from finial.core.errors import Kind, Reason

PID = Reason(
    "broker-pid",
    Kind.INVALID,
    ("BROKER-38", "BROKER-62"),
    "Give the process id of the workload itself, as the endpoint's machine sees it.",
    "A process id is not a positive number.",
)
OBJECT_TYPE = Reason(
    "broker-object-type",
    Kind.INVALID,
    ("BROKER-40", "BROKER-62"),
    "Give the plural in lower case (pods), and the group (core for core resources).",
    "The type of a Kubernetes object lacks its plural or its group, or one is malformed.",
)
OBJECT_KEY = Reason(
    "broker-object-key",
    Kind.INVALID,
    ("BROKER-41", "BROKER-62"),
    meaning="The key of a Kubernetes object has no name, or its name or its namespace is malformed.",
)
OBJECT_NAMESPACE = Reason(
    "broker-object-namespace",
    Kind.INVALID,
    ("BROKER-41", "BROKER-62"),
    "Give a namespace for what lives in one, and none for what is of the whole cluster.",
    "The key of a Kubernetes object has a namespace that its kind has not, or lacks the one that it has.",
)
OBJECT_UID = Reason(
    "broker-object-uid",
    Kind.INVALID,
    ("BROKER-45", "BROKER-62"),
    "Give the UID as Kubernetes writes it: a UUID in lower case.",
    "The UID of a Kubernetes object is no UUID.",
)
OBJECT_NAMELESS = Reason(
    "broker-object-nameless",
    Kind.INVALID,
    ("BROKER-42", "BROKER-62"),
    "Give the key of the object, its UID, or both.",
    "A reference to a Kubernetes object names none.",
)
OBJECT_REPLACED = Reason(
    "broker-object-replaced",
    Kind.MISSING,
    ("BROKER-43", "BROKER-68"),
    "Refer to the object anew: another one has taken its name.",
    "The object of this name has another UID than the one that was asked for.",
)
NO_BROKERS = Reason(
    "broker-none-allowed",
    Kind.INVALID,
    ("BROKER-14", "BROKER-15"),
    "Name the SPIFFE ID of each broker that may ask.",
    "A Broker Endpoint is configured for which nobody is allowed.",
)
BROKER_TWICE = Reason(
    "broker-twice",
    Kind.INVALID,
    ("BROKER-15",),
    meaning="One SPIFFE ID is configured twice as a broker, so two answers could be given for it.",
)
NOT_A_BROKER = Reason(
    "broker-not-allowed",
    Kind.DENIED,
    ("BROKER-14", "BROKER-22", "BROKER-48"),
    "Add its SPIFFE ID to the brokers that may ask, if it shall.",
    "The caller is proven, and is not one of the brokers that may ask.",
)
TYPE_NOT_ALLOWED = Reason(
    "broker-type-not-allowed",
    Kind.DENIED,
    ("BROKER-49",),
    "Allow the broker this type of reference, if it shall use it.",
    "A broker uses a type of reference that it is not allowed.",
)
TYPE_NOT_REMOTE = Reason(
    "broker-type-not-remote",
    Kind.DENIED,
    ("BROKER-31", "BROKER-37"),
    "Ask over the Unix socket of the workload's own machine.",
    "A broker asks over TCP with a type of reference that it may use on the same machine only.",
)

"""Reasons to refuse the address of a Workload Endpoint or of a Broker Endpoint."""

from finial.core.errors import Kind, Reason

_HINT = "Write unix:///absolute/path.sock, or tcp://<IP address>:<port>."

ENDPOINT_URI = Reason(
    "endpoint-uri", Kind.INVALID, ("EP-14", "BROKER-10"), _HINT, "The address of an endpoint is no URI."
)
ENDPOINT_SCHEME = Reason(
    "endpoint-scheme",
    Kind.INVALID,
    ("EP-15", "BROKER-10"),
    _HINT,
    "The scheme of an endpoint's address is neither unix nor tcp.",
)
ENDPOINT_UNIX_HOST = Reason(
    "endpoint-unix-host",
    Kind.INVALID,
    ("EP-16", "EP-18", "BROKER-11"),
    "Write three slashes: unix:///absolute/path.sock.",
    "The address of a Unix socket names a host.",
)
ENDPOINT_UNIX_PATH = Reason(
    "endpoint-unix-path",
    Kind.INVALID,
    ("EP-17", "EP-18", "BROKER-85"),
    _HINT,
    "The path of a Unix socket is missing, not absolute, or too long.",
)
ENDPOINT_TCP_HOST = Reason(
    "endpoint-tcp-host",
    Kind.INVALID,
    ("EP-19", "BROKER-12"),
    "Write the IP address; names are looked up for a Broker Endpoint only.",
    "The host of an endpoint's address is missing, or of no form that it may have.",
)
ENDPOINT_TCP_PORT = Reason(
    "endpoint-tcp-port",
    Kind.INVALID,
    ("EP-20", "BROKER-12"),
    "Give a port from 1 to 65535.",
    "The port of an endpoint's address is missing or is none.",
)
ENDPOINT_SURPLUS = Reason(
    "endpoint-surplus",
    Kind.INVALID,
    ("EP-18", "EP-21", "BROKER-12", "BROKER-85"),
    _HINT,
    "The address of an endpoint has parts that have no place in it.",
)

"""Reasons not to send a token some way, or to refuse the request that carries one."""

from finial.core.errors import Kind, Reason

TARGET_FORM = Reason(
    "target-form",
    Kind.INVALID,
    ("WIT-61",),
    "Write the target as https://host/path, without user and password.",
    "A target is no URI of a host.",
)
TARGET_PLAIN = Reason(
    "target-plain",
    Kind.DENIED,
    ("JWT-40", "WIT-54"),
    "Use https; only a JWT-SVID may go in plain text, and only to this very machine.",
    "A token would travel over a connection that others can read.",
)
FIELD_TOKEN = Reason(
    "field-token",
    Kind.INVALID,
    ("WIT-40", "WIT-58", "WIT-60"),
    "Send the token in the field Workload-Identity-Token, once.",
    "A request does not have exactly one WIT-SVID in the field for it.",
)
FIELD_BEARER = Reason(
    "field-bearer",
    Kind.INVALID,
    ("JWT-31", "JWT-32", "WIT-39", "WIT-40"),
    "Send a JWT-SVID once, as: Authorization: Bearer <token>; a WIT-SVID travels in a field of its own.",
    "A request does not have exactly one bearer token in the field Authorization.",
)

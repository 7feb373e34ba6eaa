"""Reasons to refuse a federation relationship, an answer of a bundle endpoint, or a bundle that it serves."""

from finial.core.errors import Kind, Reason

_URL_HINT = "Write https://<host>[:<port>]/<path>."

URL = Reason(
    "federation-url",
    Kind.INVALID,
    ("FED-25", "FED-40"),
    _URL_HINT,
    "The address of a bundle endpoint is no URL.",
)
URL_LONG = Reason(
    "federation-url-long", Kind.LIMIT, meaning="The address of a bundle endpoint is longer than 4,096 bytes."
)
URL_SCHEME = Reason(
    "federation-url-scheme",
    Kind.INVALID,
    ("FED-25", "FED-40"),
    _URL_HINT,
    "The scheme of a bundle endpoint's address is not https.",
)
URL_USER_INFO = Reason(
    "federation-url-user-info",
    Kind.INVALID,
    ("FED-26", "FED-41"),
    "Take the user and the password out: a bundle endpoint asks for none.",
    "The address of a bundle endpoint has user information in it.",
)
URL_HOST = Reason(
    "federation-url-host",
    Kind.INVALID,
    ("FED-37",),
    _URL_HINT,
    "The address of a bundle endpoint names neither an IP address nor a DNS name.",
)
URL_PORT = Reason(
    "federation-url-port",
    Kind.INVALID,
    ("FED-27", "FED-42"),
    "Give a port from 1 to 65535, or none.",
    "The port of a bundle endpoint's address is none.",
)
PARAMETER = Reason(
    "federation-parameter",
    Kind.INVALID,
    ("FED-21", "FED-38", "FED-58", "FED-68"),
    "Give the trust domain, the URL and the profile: none follows from another.",
    "A federation relationship lacks one of its three parameters, or one cannot be read.",
)
PROFILE = Reason(
    "federation-profile",
    Kind.INVALID,
    ("FED-18", "FED-21"),
    "Write https_web or https_spiffe.",
    "The profile of a federation relationship is unknown.",
)
ENDPOINT_ID = Reason(
    "federation-endpoint-id",
    Kind.INVALID,
    ("FED-43", "FED-54"),
    "Give the SPIFFE ID that the endpoint's server has in its X.509-SVID.",
    "The profile https_spiffe lacks the SPIFFE ID of the endpoint, or it is no ID that a server can have.",
)
SURPLUS = Reason(
    "federation-surplus",
    Kind.INVALID,
    ("FED-28",),
    "Leave the endpoint's SPIFFE ID out, or write https_spiffe.",
    "The profile https_web has a parameter that means nothing to it.",
)
OWN_DOMAIN = Reason(
    "federation-own-domain",
    Kind.INVALID,
    ("ID-17",),
    meaning="A federation relationship is with the trust domain itself.",
)
NO_BUNDLE = Reason(
    "federation-endpoint-bundle",
    Kind.UNAVAILABLE,
    ("FED-43", "FED-45", "FED-48"),
    "Give a first bundle of that trust domain: finial server bundle set.",
    "Nothing is known to verify a bundle endpoint's server with.",
)
PACE = Reason(
    "federation-pace",
    Kind.INVALID,
    ("BUNDLE-18",),
    meaning="The bounds of the polling interval are not positive, or not in order.",
)
REDIRECT_OFF = Reason(
    "federation-redirect-off",
    Kind.DENIED,
    ("FED-73",),
    "Allow redirects for this relationship, or give it the address that the endpoint has moved to.",
    "A bundle endpoint redirects, and redirects are not followed.",
)
REDIRECT_STATUS = Reason(
    "federation-redirect-status",
    Kind.INVALID,
    ("FED-36", "FED-53"),
    meaning="A bundle endpoint answers with a redirect that names no one place to go to.",
)
REDIRECT_HOPS = Reason(
    "federation-redirect-hops",
    Kind.LIMIT,
    ("FED-39", "FED-59"),
    meaning="A bundle endpoint redirects again and again.",
)
REDIRECT_TARGET = Reason(
    "federation-redirect-target",
    Kind.INVALID,
    ("FED-39", "FED-59", "FED-77", "FED-83"),
    "Ask the operator of that trust domain where the endpoint has moved to.",
    "A redirect leads to what is no address of a bundle endpoint.",
)
REDIRECT_PERMANENT = Reason(
    "federation-redirect-permanent",
    Kind.INVALID,
    ("FED-73", "FED-78", "FED-84"),
    "Answer 302, 303 or 307.",
    "A bundle endpoint is to redirect for good.",
)
ANSWER_STATUS = Reason(
    "federation-answer-status",
    Kind.UNAVAILABLE,
    ("FED-64",),
    "The stored bundle stays in use; ask the operator of that trust domain if it lasts.",
    "A bundle endpoint answers with another status than 200.",
)
ANSWER_LARGE = Reason(
    "federation-answer-large",
    Kind.LIMIT,
    ("FED-64",),
    meaning="A bundle endpoint announces more than 4 MiB.",
)
ANSWER_ENCODING = Reason(
    "federation-answer-encoding",
    Kind.INVALID,
    ("FED-33", "FED-52"),
    meaning="A bundle endpoint answers in another encoding than plain UTF-8.",
)
OLDER = Reason(
    "federation-older",
    Kind.CONFLICT,
    ("FED-12",),
    "Ask the operator of that trust domain; if its number began anew on purpose, set its bundle by hand.",
    "A bundle endpoint serves a bundle with a lower sequence number than the stored one has.",
)
SAME_NUMBER = Reason(
    "federation-same-number",
    Kind.INVALID,
    ("FED-12", "BUNDLE-14"),
    "Tell the operator of that trust domain: whoever goes by the number misses the change.",
    "A bundle endpoint serves another bundle under the sequence number that the stored one has.",
)
UNNUMBERED = Reason(
    "federation-unnumbered",
    Kind.INVALID,
    ("FED-13", "BUNDLE-12"),
    "Ask the operator of that trust domain: without a number nobody can tell an old bundle from a new one.",
    "A bundle endpoint serves a bundle without a sequence number, and had given one before.",
)

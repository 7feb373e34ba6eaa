"""Reasons to refuse a JWT-SVID."""

from finial.core.errors import Kind, Reason

JWT_ALGORITHM = Reason(
    "jwt-algorithm",
    Kind.INVALID,
    ("JWT-05", "JWT-06", "JWT-24", "JWT-25"),
    "Sign tokens by one of RS256 to RS512, PS256 to PS512, ES256, ES384 and ES512.",
    "The header names no algorithm, or one that no JWT-SVID is signed by.",
)
JWT_HEADER = Reason(
    "jwt-header",
    Kind.INVALID,
    ("JWT-03",),
    "Have the issuer leave out every header parameter but alg, kid and typ.",
    "The header has a parameter that no JWT-SVID has; nothing that such a parameter names is ever followed.",
)
JWT_TYPE = Reason(
    "jwt-type",
    Kind.INVALID,
    ("JWT-09", "JWT-10", "WIT-49"),
    meaning="The header names a type other than JWT and JOSE, so the token is something else.",
)
JWT_KEY_ID = Reason(
    "jwt-key-id",
    Kind.INVALID,
    ("JWT-08", "JWT-45"),
    meaning="The header has a key id that is no text, or is empty.",
)
JWT_SUBJECT = Reason(
    "jwt-subject",
    Kind.INVALID,
    ("JWT-13", "JWT-14"),
    meaning="The claim sub is missing or is no SPIFFE ID, so the token names nobody.",
)
JWT_ROOT_ID = Reason(
    "jwt-root-id",
    Kind.INVALID,
    ("JWT-13",),
    "Give the entry a path.",
    "The claim sub is the ID of a trust domain, which names no workload.",
)
JWT_AUDIENCE_FORM = Reason(
    "jwt-no-audience",
    Kind.INVALID,
    ("JWT-15", "JWT-16", "JWT-26", "JWT-27"),
    "Ask for the token with the name of the service that it is meant for.",
    "The claim aud is missing, or is neither a text nor an array of texts, or has an empty one.",
)
JWT_EXPIRY = Reason(
    "jwt-no-expiry",
    Kind.INVALID,
    ("JWT-21", "JWT-22", "JWT-26", "JWT-27", "JWT-45"),
    meaning="The claim exp is missing or is no number of seconds, so the token would never end.",
)
JWT_TIME = Reason(
    "jwt-time",
    Kind.INVALID,
    ("JWT-24", "JWT-29"),
    meaning="The claim nbf or iat is there, but is no number of seconds.",
)
JWT_EXPIRED = Reason(
    "jwt-expired",
    Kind.UNTRUSTED,
    ("JWT-26", "JWT-41"),
    "Fetch a new token; if it is new, compare the clocks.",
    "The token has expired.",
)
JWT_NOT_YET_VALID = Reason(
    "jwt-not-yet-valid",
    Kind.UNTRUSTED,
    ("JWT-29",),
    "Compare the clocks of this machine and of the authority.",
    "The validity of the token has not begun.",
)
JWT_AUDIENCE = Reason(
    "jwt-audience",
    Kind.UNTRUSTED,
    ("JWT-17", "JWT-26"),
    "Have the caller ask for a token for this service, or add the name to those of this service.",
    "The token is meant for somebody else: none of its audiences is one that the validator goes by.",
)
JWT_NOBODY = Reason(
    "jwt-validator-audience",
    Kind.INVALID,
    ("JWT-42",),
    "Name the audiences that this service goes by, as a list.",
    "A validator has no audience that it goes by, and would have to accept tokens meant for others.",
)

# What our own authority is held to
JWT_ISSUED_HEADER = Reason(
    "jwt-issued-header",
    Kind.INTERNAL,
    ("JWT-03", "JWT-08", "JWT-10", "JWT-45"),
    meaning="A token was built whose header is something else than alg, kid and the type JWT.",
)
JWT_ISSUED_TIMES = Reason(
    "jwt-issued-times",
    Kind.INTERNAL,
    ("JWT-21", "JWT-45"),
    meaning="A token was built without a time of issue, or whose end is no whole second later than it.",
)

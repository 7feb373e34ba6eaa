"""Reasons to refuse a WIT-SVID."""

from finial.core.errors import Kind, Reason

WIT_ALGORITHM = Reason(
    "wit-algorithm",
    Kind.INVALID,
    ("WIT-07", "WIT-08"),
    "Sign tokens by one of RS256 to RS512, PS256 to PS512, ES256, ES384 and ES512.",
    "The header names no algorithm, or one that no WIT-SVID is signed by.",
)
WIT_CRITICAL = Reason(
    "wit-critical-header",
    Kind.INVALID,
    ("WIT-10",),
    meaning="The header demands that a parameter be understood, and none beyond alg, kid and typ is.",
)
WIT_TYPE = Reason(
    "wit-type", Kind.INVALID, ("WIT-06",), meaning="The header has another type than wit+jwt, or none."
)
WIT_KEY_ID = Reason(
    "wit-key-id",
    Kind.INVALID,
    ("WIT-02", "WIT-03"),
    meaning="The header has no key id, or one that is no text or is empty.",
)
WIT_SUBJECT = Reason(
    "wit-subject",
    Kind.INVALID,
    ("WIT-11",),
    meaning="The claim sub is missing or is no SPIFFE ID, so the token names nobody.",
)
WIT_ROOT_ID = Reason(
    "wit-root-id",
    Kind.INVALID,
    ("WIT-11",),
    "Give the entry a path.",
    "The claim sub is the ID of a trust domain, which names no workload.",
)
WIT_AUDIENCE = Reason(
    "wit-audience",
    Kind.INVALID,
    ("WIT-30", "WIT-49"),
    meaning="The claim aud is there, so the token is something else than a WIT-SVID.",
)
WIT_EXPIRY = Reason(
    "wit-no-expiry",
    Kind.INVALID,
    ("WIT-19",),
    meaning="The claim exp is missing or is no number of seconds, so the token would never end.",
)
WIT_TIME = Reason(
    "wit-time",
    Kind.INVALID,
    ("WIT-01", "WIT-24"),
    meaning="The claim nbf or iat is there, but is no number of seconds.",
)

# The key that the token is bound to
WIT_CNF = Reason(
    "wit-no-confirmation",
    Kind.INVALID,
    ("WIT-12", "WIT-13", "WIT-55"),
    meaning="The claim cnf is missing, or does not hold one public key as a JWK.",
)
WIT_CNF_SECRET = Reason(
    "wit-confirmation-secret",
    Kind.INVALID,
    ("WIT-13", "WIT-55"),
    "Replace the key: whoever saw the token has it.",
    "The claim cnf holds a symmetric key or the private half of one.",
)
WIT_CNF_ALGORITHM = Reason(
    "wit-confirmation-algorithm",
    Kind.INVALID,
    ("WIT-14", "WIT-33", "WIT-55"),
    meaning="The key in the claim cnf does not say by which of the nine algorithms it signs.",
)
WIT_CNF_KEY = Reason(
    "wit-confirmation-key",
    Kind.INVALID,
    ("WIT-13", "WIT-55"),
    meaning="The key in the claim cnf cannot be read or is not accepted.",
)
WIT_CNF_KIND = Reason(
    "wit-confirmation-kind",
    Kind.INVALID,
    ("WIT-14",),
    meaning="The algorithm that the key in the claim cnf names does not go with its type.",
)

# At the moment of validation
WIT_EXPIRED = Reason(
    "wit-expired",
    Kind.UNTRUSTED,
    ("WIT-20",),
    "Fetch a new token; if it is new, compare the clocks.",
    "The token has expired.",
)
WIT_NOT_YET_VALID = Reason(
    "wit-not-yet-valid",
    Kind.UNTRUSTED,
    ("WIT-24",),
    "Compare the clocks of this machine and of the authority.",
    "The validity of the token has not begun.",
)
WIT_LIFESPAN = Reason(
    "wit-lifespan",
    Kind.UNTRUSTED,
    ("WIT-25",),
    "Have the issuer give tokens a shorter life, or raise the limit of this validator.",
    "The token lives longer than the policy of the validator allows.",
)

# What our own authority is held to
WIT_ISSUED_HEADER = Reason(
    "wit-issued-header",
    Kind.INTERNAL,
    ("WIT-09", "WIT-33"),
    meaning="A token was built whose header is something else than alg, kid and typ.",
)
WIT_ISSUED_TIMES = Reason(
    "wit-issued-times",
    Kind.INTERNAL,
    ("WIT-19", "WIT-33"),
    meaning="A token was built without a time of issue, or whose end is no whole second later than it.",
)
WIT_ISSUED_ISSUER = Reason(
    "wit-issued-issuer",
    Kind.INVALID,
    ("WIT-29",),
    "Leave the issuer of WIT-SVIDs out; no validator needs it.",
    "The claim iss would suit OpenID Connect Discovery, so that the token could pass for another.",
)

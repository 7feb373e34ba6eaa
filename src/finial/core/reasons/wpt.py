"""Reasons to refuse a proof of possession, or to make none."""

from finial.core.errors import Kind, Reason

WPT_ALGORITHM = Reason(
    "wpt-algorithm",
    Kind.INVALID,
    ("WIT-56", "WIT-61"),
    meaning="The header of the proof names no algorithm, or one that no token is signed by.",
)
WPT_CRITICAL = Reason(
    "wpt-critical-header",
    Kind.INVALID,
    ("WIT-62",),
    meaning="The header of the proof demands that a parameter be understood, and none is.",
)
WPT_TYPE = Reason(
    "wpt-type",
    Kind.INVALID,
    ("WIT-61", "WIT-62"),
    meaning="The header of the proof has another type than wpt+jwt, or none.",
)
WPT_FORM = Reason(
    "wpt-claims",
    Kind.INVALID,
    ("WIT-51", "WIT-61"),
    meaning="A claim that a proof needs is missing, or one is of another type than it should be.",
)
WPT_OTHER_ALGORITHM = Reason(
    "wpt-other-algorithm",
    Kind.UNTRUSTED,
    ("WIT-56", "WIT-61", "WIT-62"),
    meaning="The proof was made by another algorithm than the one that the key in the token names.",
)
WPT_SIGNATURE = Reason(
    "wpt-signature",
    Kind.UNTRUSTED,
    ("WIT-37", "WIT-38", "WIT-62"),
    "Make the proof with the key that was delivered with the token.",
    "The proof was not made with the key that the token is bound to, or was changed afterwards.",
)
WPT_TARGET = Reason(
    "wpt-target",
    Kind.UNTRUSTED,
    ("WIT-50", "WIT-61", "WIT-62"),
    "Make one proof for each target; if a proxy rewrites the URI, tell the validator the one clients use.",
    "The proof was made for another target than this one.",
)
WPT_EXPIRED = Reason(
    "wpt-expired",
    Kind.UNTRUSTED,
    ("WIT-51", "WIT-62"),
    "Make a proof for each request; if it is new, compare the clocks.",
    "The proof has expired.",
)
WPT_LONG = Reason(
    "wpt-long-lived",
    Kind.UNTRUSTED,
    ("WIT-51", "WIT-62"),
    "Make proofs that last for seconds.",
    "The proof would be good for longer than proofs may be.",
)
WPT_NOT_YET_VALID = Reason(
    "wpt-not-yet-valid",
    Kind.UNTRUSTED,
    ("WIT-62",),
    "Compare the clocks of the two machines.",
    "The validity of the proof has not begun.",
)
WPT_TOKEN = Reason(
    "wpt-other-token",
    Kind.UNTRUSTED,
    ("WIT-38", "WIT-61", "WIT-62"),
    meaning="The proof was made for another token than the one that it came with.",
)
WPT_TRANSACTION = Reason(
    "wpt-transaction-token",
    Kind.UNTRUSTED,
    ("WIT-50", "WIT-61", "WIT-62"),
    meaning="The proof does not cover the transaction token of the request, or covers one that is not there.",
)
WPT_OTHERS = Reason(
    "wpt-further-tokens",
    Kind.UNTRUSTED,
    ("WIT-50", "WIT-61", "WIT-62"),
    meaning="The proof does not cover exactly the further tokens of the request.",
)
WPT_REPLAYED = Reason(
    "wpt-used",
    Kind.UNTRUSTED,
    ("WIT-53", "WIT-62"),
    "Make a new proof for each request, also when one is sent again.",
    "The proof was accepted once already.",
)
WPT_MEMORY = Reason(
    "wpt-memory-full",
    Kind.LIMIT,
    ("WIT-53",),
    "Let the memory of proofs hold more, or have clients make proofs that last for seconds.",
    "So many proofs are remembered that another could not be told from a used one, so it is refused.",
)

# Presenting
WPT_TTL = Reason(
    "wpt-lifetime",
    Kind.INVALID,
    ("WIT-51", "WIT-52"),
    "Give a lifetime of a second to five minutes; seconds are enough.",
    "A proof was to be made that lasts longer than proofs may, or no time at all.",
)
WPT_KEY = Reason(
    "wpt-key",
    Kind.INVALID,
    ("WIT-38", "WIT-56"),
    "Use the private key that was delivered with the token.",
    "A proof was to be made with another key than the one that the token is bound to.",
)
WPT_CREDENTIAL = Reason(
    "wpt-credential-expired",
    Kind.UNAVAILABLE,
    ("WIT-59",),
    "Fetch a new token, and drop the key of the old one.",
    "A proof was to be made with a key whose token has expired.",
)
WPT_ID = Reason(
    "wpt-id",
    Kind.INVALID,
    ("WIT-61",),
    "Draw 128 random bits for each proof.",
    "A proof was to be made without a name of its own.",
)
FIELD_PROOF = Reason(
    "field-proof",
    Kind.INVALID,
    ("WIT-37", "WIT-39", "WIT-62", "WIT-63"),
    "Send one proof, in the field that the setting of this service names.",
    "A request does not have exactly one proof in the field for it.",
)

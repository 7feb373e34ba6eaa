"""Reasons to refuse a token of either kind, or to issue none."""

from finial.core.errors import Kind, Reason

TOKEN_LARGE = Reason("token-large", Kind.LIMIT, meaning="A token is larger than any that is read.")
TOKEN_FORM = Reason(
    "token-form",
    Kind.INVALID,
    ("JWT-01", "JWT-02", "JWT-04", "JWT-30", "WIT-01"),
    "Give the token alone, as three parts with dots between them.",
    "A token is not in the compact form of a signed one: three parts, each base64url without padding.",
)
TOKEN_JSON = Reason(
    "token-json",
    Kind.INVALID,
    ("JWT-24", "WIT-01"),
    meaning="The header or the claims of a token are no JSON object in UTF-8, or nest too deeply.",
)
TOKEN_DUPLICATE = Reason(
    "token-duplicate-member",
    Kind.INVALID,
    ("JWT-24", "WIT-01"),
    meaning="The header or the claims of a token have one name twice, so two readers could read two tokens.",
)

# Who signed it
TOKEN_NO_BUNDLE = Reason(
    "token-no-bundle",
    Kind.UNTRUSTED,
    ("JWT-28", "ID-31", "BUNDLE-03", "BUNDLE-06"),
    "Federate with that trust domain, and let the entry of this workload name it in federates_with.",
    "There is no federation with the trust domain that the token names: no bundle of that name is held.",
)
TOKEN_NO_KEYS = Reason(
    "token-no-keys",
    Kind.UNTRUSTED,
    ("JWT-37", "WIT-48", "BUNDLE-23"),
    "Ask the operator of that trust domain whether it supports tokens of this kind.",
    "The bundle of the trust domain that the token names holds no key for tokens of this kind.",
)
TOKEN_UNKNOWN_KEY = Reason(
    "token-unknown-key",
    Kind.UNTRUSTED,
    ("JWT-28", "JWT-36", "WIT-03", "WIT-05", "WIT-47"),
    "Compare the key id with those of the bundle; one of the two may be out of date.",
    "The bundle of the trust domain that the token names holds no key that it could be signed with.",
)
TOKEN_KEY_KIND = Reason(
    "token-key-kind",
    Kind.UNTRUSTED,
    ("JWT-07", "WIT-08"),
    meaning="The algorithm that a token names does not go with the key that it names.",
)
TOKEN_KEYS_MANY = Reason(
    "token-keys-many",
    Kind.LIMIT,
    ("JWT-08",),
    "Have the issuer name the key in the header parameter kid.",
    "A token does not name its key, and so many keys could be meant that trying them was not begun.",
)
TOKEN_SIGNATURE = Reason(
    "token-signature",
    Kind.UNTRUSTED,
    ("JWT-24", "JWT-28", "WIT-01"),
    "Renew the bundle and the token; if it stays, the token was changed or made by somebody else.",
    "A token was not signed with the key that it names, or was changed afterwards.",
)
TOKEN_LEEWAY = Reason(
    "token-leeway",
    Kind.INVALID,
    ("JWT-41", "WIT-21"),
    "Set a leeway between zero and two minutes; mend the clocks instead of widening it.",
    "The leeway that a validator was set to is negative, or longer than clocks can honestly differ.",
)

# What is not issued
ISSUE_CLAIM = Reason(
    "issue-claim",
    Kind.INVALID,
    ("JWT-11", "JWT-13", "WIT-30", "WIT-31"),
    "Give further claims names of their own, and values that JSON has.",
    "A further claim has the name of one that the authority sets itself, or is nothing that JSON can say.",
)
ISSUE_TOKEN = Reason(
    "issue-token-mismatch",
    Kind.INTERNAL,
    ("JWT-13", "JWT-24", "WIT-33"),
    meaning="The token that was built does not say what was asked for.",
)

"""Reasons to refuse a bundle, its document, or one entry of the document."""

from finial.core.errors import Kind, Reason

BUNDLE_LARGE = Reason(
    "bundle-large", Kind.LIMIT, meaning="A bundle document, or its list of keys, is too large."
)
BUNDLE_JSON = Reason(
    "bundle-json",
    Kind.INVALID,
    ("BUNDLE-09",),
    "Check that the address leads to a bundle and not to a page for people.",
    "The document is not JSON in UTF-8, nests too deeply, or is not an object.",
)
BUNDLE_DUPLICATE_KEY = Reason(
    "bundle-duplicate-key",
    Kind.INVALID,
    ("BUNDLE-47",),
    meaning="An object of the document has one key twice, so two readers could take it for two documents.",
)
BUNDLE_KEYS = Reason(
    "bundle-keys",
    Kind.INVALID,
    ("BUNDLE-19",),
    "Publish an empty array when there are no keys.",
    "The member keys is missing or is not an array.",
)
BUNDLE_SEQUENCE = Reason(
    "bundle-sequence",
    Kind.INVALID,
    ("BUNDLE-13", "BUNDLE-15"),
    meaning="The sequence number is not an integer from 0 to 2 to the power of 64, less one.",
)
BUNDLE_REFRESH_HINT = Reason(
    "bundle-refresh-hint",
    Kind.INVALID,
    ("BUNDLE-17", "BUNDLE-18"),
    meaning="The refresh hint is not a whole number of seconds, zero or more; it is passed over.",
)
BUNDLE_DUPLICATE_DOMAIN = Reason(
    "bundle-duplicate-domain",
    Kind.INVALID,
    ("BUNDLE-03", "BUNDLE-36"),
    meaning="Two bundles of one trust domain were given where each domain has exactly one.",
)
BUNDLE_FOREIGN_AUTHORITY = Reason(
    "bundle-shared-authority",
    Kind.INVALID,
    ("BUNDLE-02",),
    "Ask the operators of both trust domains which of them owns the key.",
    "Two trust domains publish the same authority.",
)
ENTRY_NOT_OBJECT = Reason(
    "bundle-entry-not-object", Kind.INVALID, ("BUNDLE-09",), meaning="An entry of keys is not a JSON object."
)
ENTRY_KTY = Reason(
    "bundle-entry-kty",
    Kind.INVALID,
    ("BUNDLE-20", "BUNDLE-28"),
    meaning="The key type of an entry is missing or unknown; the entry is passed over.",
)
ENTRY_USE = Reason(
    "bundle-entry-use",
    Kind.INVALID,
    ("BUNDLE-20", "BUNDLE-21", "BUNDLE-30"),
    meaning="The use of an entry is missing or unknown; the entry is passed over.",
)
ENTRY_UNREAD = Reason(
    "bundle-entry-unread",
    Kind.UNAVAILABLE,
    ("BUNDLE-21", "X509-49"),
    meaning="The entry is a key for tokens, which is known, but which this part of the bundle does not hold.",
)
ENTRY_NO_X5C = Reason(
    "bundle-entry-no-x5c",
    Kind.INVALID,
    ("X509-50",),
    meaning="An entry for X.509 has no certificate; the entry is passed over.",
)
ENTRY_CERTIFICATE = Reason(
    "bundle-entry-certificate",
    Kind.INVALID,
    ("X509-45",),
    "Tell the operator of that trust domain; the other entries are in use.",
    "The certificate of an entry cannot be read, or is not a signing certificate.",
)
ENTRY_KEY_ID = Reason(
    "bundle-entry-key-id",
    Kind.INVALID,
    ("JWT-35", "WIT-45"),
    "Tell the operator of that trust domain; the other entries are in use.",
    "A key for tokens has no key id or that of another key; the entry is passed over.",
)
ENTRY_KEY = Reason(
    "bundle-entry-key",
    Kind.INVALID,
    ("JWT-33", "WIT-43"),
    "Tell the operator of that trust domain; the other entries are in use.",
    "The key of an entry cannot be read, or no token is signed with such a key.",
)

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
BUNDLE_TWO_DOMAINS = Reason(
    "bundle-two-domains",
    Kind.INVALID,
    ("FED-15", "FED-71"),
    meaning="Bundles of two trust domains were given to be compared or put together.",
)
BUNDLE_FOREIGN_AUTHORITY = Reason(
    "bundle-shared-authority",
    Kind.INVALID,
    ("BUNDLE-02",),
    "Ask the operators of both trust domains which of them owns the key.",
    "Two trust domains publish the same authority.",
)
MAP_DOMAINS = Reason(
    "bundle-map-domains",
    Kind.INVALID,
    ("BUNDLE-33",),
    "Publish an empty object when there are no bundles.",
    "The member trust_domains of a bundle map is missing or is not an object.",
)
MAP_DUPLICATE_KEY = Reason(
    "bundle-map-duplicate-key",
    Kind.INVALID,
    ("BUNDLE-36", "BUNDLE-37", "BUNDLE-47"),
    meaning="A trust domain stands twice in a bundle map, or another object in it has one key twice.",
)
MAP_NAME = Reason(
    "bundle-map-name",
    Kind.INVALID,
    ("BUNDLE-35",),
    "Write the bare name (example.org) and not its ID (spiffe://example.org).",
    "A key of a bundle map is not the name of a trust domain.",
)
MAP_BUNDLE = Reason(
    "bundle-map-bundle",
    Kind.INVALID,
    ("BUNDLE-35", "BUNDLE-41"),
    meaning="A value of a bundle map is not a JSON object.",
)
MAP_HINT = Reason(
    "bundle-map-hint",
    Kind.INVALID,
    ("BUNDLE-38", "BUNDLE-39"),
    meaning="A bundle in a bundle map has a refresh hint; it is passed over.",
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
    ("JWT-35", "WIT-45", "WIT-46"),
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
ENTRY_PRIVATE = Reason(
    "bundle-entry-private",
    Kind.INVALID,
    ("JWT-33", "WIT-43"),
    "Tell the operator of that trust domain at once: whoever has read it can sign tokens.",
    "An entry publishes the private half of its key; the entry is passed over.",
)

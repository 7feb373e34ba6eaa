"""Reasons not to issue a certificate; peers' certificates are not held to the first group."""

from finial.core.errors import Kind, Reason

X509_KEY_USAGE_CRITICAL = Reason(
    "x509-key-usage-critical",
    Kind.INTERNAL,
    ("X509-23", "X509-24"),
    meaning="A certificate was built without key usage, or with one that is not critical.",
)
X509_LEAF_BASIC_CONSTRAINTS = Reason(
    "x509-leaf-basic-constraints",
    Kind.INTERNAL,
    ("X509-19",),
    meaning="A leaf was built without basic constraints.",
)
X509_LEAF_EXTENDED_KEY_USAGE = Reason(
    "x509-leaf-extended-key-usage",
    Kind.INTERNAL,
    ("X509-30", "X509-32"),
    meaning="A leaf was built without both purposes of TLS, server and client.",
)
X509_LEAF_NAME_CONSTRAINTS = Reason(
    "x509-leaf-name-constraints",
    Kind.INTERNAL,
    ("X509-21",),
    meaning="A leaf was built with name constraints.",
)
X509_NAMES_CRITICAL = Reason(
    "x509-names-critical",
    Kind.INTERNAL,
    ("X509-08",),
    meaning="A certificate with an empty subject was built with names that are not critical.",
)
X509_CA_ID = Reason(
    "x509-ca-id",
    Kind.INTERNAL,
    ("X509-10", "X509-12", "ID-33", "ID-35"),
    meaning="A signing certificate was built with something else than the ID of one trust domain.",
)
X509_CA_KEY_USAGE_EXTRA = Reason(
    "x509-ca-key-usage-extra",
    Kind.INTERNAL,
    ("X509-23", "X509-25", "X509-56"),
    meaning="A signing certificate was built with other key usages than signing certificates and lists.",
)

ISSUE_FOREIGN = Reason(
    "issue-foreign-subject",
    Kind.DENIED,
    ("ID-34", "ID-46", "X509-13", "BUNDLE-46"),
    "Ask the authority of that trust domain.",
    "A certificate or a token was asked for whose ID is in another trust domain than the authority's.",
)
ISSUE_MISMATCH = Reason(
    "issue-mismatch",
    Kind.INTERNAL,
    ("X509-01", "X509-04", "ID-45"),
    meaning="The certificate that was built does not say what was asked for.",
)
ISSUE_NOT_TIMELY = Reason(
    "issue-authority-expired",
    Kind.UNAVAILABLE,
    hint="Rotate the authority.",
    meaning="The authority has expired or is not valid yet, so nothing can be signed under it.",
)
ISSUE_TTL = Reason("issue-ttl", Kind.INVALID, hint="Give a lifetime of a second or more.")
ISSUE_SERIAL = Reason(
    "issue-serial",
    Kind.INTERNAL,
    meaning="A serial number is not between 1 and 2 to the power of 128, less one.",
)
ISSUE_DNS_NAME = Reason(
    "issue-dns-name",
    Kind.INVALID,
    hint="Correct the DNS name in the entry.",
    meaning="A DNS name cannot stand in a certificate.",
)
ISSUE_KEY = Reason(
    "issue-key",
    Kind.INTERNAL,
    meaning="The key given for signing is not the one of the authority.",
)
ISSUE_PATH_LENGTH = Reason(
    "issue-path-length",
    Kind.DENIED,
    ("X509-17",),
    "Have the upstream authority allow another level.",
    "The signing certificate allows no further signing certificate below it.",
)

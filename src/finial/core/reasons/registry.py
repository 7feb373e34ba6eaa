"""Reasons to refuse a selector, a registration entry or times for a rotation."""

from finial.core.errors import Kind, Reason

SELECTOR_FORM = Reason(
    "selector-form",
    Kind.INVALID,
    hint="Write a selector as type:value, for instance unix:uid:1000.",
    meaning="A selector has no type, no value, or a colon in its type.",
)
SELECTORS_EMPTY = Reason(
    "selector-list-empty", Kind.INVALID, meaning="A set of selectors that must match something is empty."
)

ENTRY_ID = Reason(
    "entry-id",
    Kind.INVALID,
    hint="Use at most 255 letters, digits, dots, hyphens and underscores, or leave the id out.",
)
ENTRY_FOREIGN = Reason(
    "entry-foreign",
    Kind.INVALID,
    ("ID-46",),
    "Register the workload with the server of that trust domain.",
    "The SPIFFE ID or the parent of an entry is in another trust domain.",
)
ENTRY_PATH = Reason(
    "entry-path-empty",
    Kind.INVALID,
    ("X509-06", "X509-39"),
    "Give the ID a path.",
    "The SPIFFE ID or the parent of an entry is that of a trust domain.",
)
ENTRY_RESERVED = Reason(
    "entry-path-reserved",
    Kind.INVALID,
    hint="Choose a path that does not begin with /spire.",
    meaning="Servers and agents have their IDs under /spire; no entry may give one away.",
)
ENTRY_NO_SELECTORS = Reason(
    "entry-no-selectors", Kind.INVALID, hint="Say by at least one selector which workload the entry is for."
)
ENTRY_TTL = Reason("entry-ttl", Kind.INVALID, hint="Give whole seconds, or 0 for the server's default.")
ENTRY_DNS_NAME = Reason(
    "entry-dns-name",
    Kind.INVALID,
    hint="Use ASCII labels without a dot at the end; only the first label may be an asterisk.",
)
ENTRY_FEDERATES = Reason(
    "entry-federates-with",
    Kind.INVALID,
    ("ID-17",),
    "Leave out the trust domain of the entry itself.",
    "An entry federates with its own trust domain.",
)
ENTRY_HINT = Reason("entry-hint", Kind.INVALID, hint="Shorten the hint to 1024 characters.")
ENTRY_STORE_TYPES = Reason(
    "entry-store-selectors",
    Kind.INVALID,
    hint="Give only selectors of the store that the SVID goes to.",
    meaning="An entry whose SVID is stored has selectors of several types.",
)
ENTRY_STORE_PREFETCH = Reason(
    "entry-store-prefetch",
    Kind.INVALID,
    hint="Turn one of the two off.",
    meaning="An SVID cannot be stored and at the same time be made only on demand.",
)
ENTRY_NUMBER = Reason("entry-number", Kind.INVALID, meaning="A revision or a time of an entry is negative.")

ROTATION_LIFETIME = Reason(
    "rotation-lifetime", Kind.INVALID, meaning="A certificate ends before it begins, or at the same instant."
)
ROTATION_SPREAD = Reason(
    "rotation-spread", Kind.INVALID, meaning="A fraction for spreading renewals is not between 0 and 1."
)
ROTATION_TARGET = Reason(
    "rotation-availability-target",
    Kind.INVALID,
    hint="Give 24 hours or more, or leave the target out.",
)

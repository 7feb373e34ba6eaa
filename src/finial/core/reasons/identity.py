"""Reasons to refuse a SPIFFE ID, a trust domain name or a path, or an ID that is not the wanted one."""

from finial.core.errors import Kind, Reason

ID_NOT_TEXT = Reason(
    "id-not-text", Kind.INVALID, meaning="Something other than text stands where an ID belongs."
)
ID_SCHEME = Reason(
    "id-scheme",
    Kind.INVALID,
    ("ID-01", "ID-05", "ID-29"),
    "Write the ID as spiffe://trust-domain/path, the scheme in lower case.",
    "The text is not a URI of the scheme spiffe.",
)
ID_LONG = Reason(
    "id-long",
    Kind.INVALID,
    ("ID-25", "ID-26", "ID-27"),
    "Shorten the path: 2048 bytes is the most for the whole ID.",
    "The ID is longer than every implementation has to support.",
)
ID_USER_INFO = Reason(
    "id-user-info", Kind.INVALID, ("ID-07",), "Leave out everything up to the @.", "An ID names no user."
)
ID_PORT = Reason(
    "id-port", Kind.INVALID, ("ID-08",), "Leave out the colon and the port.", "An ID has no port."
)
ID_NAME_EMPTY = Reason(
    "id-trust-domain-empty",
    Kind.INVALID,
    ("ID-02", "ID-06"),
    "Put the trust domain name after spiffe://.",
    "The ID names no trust domain.",
)
ID_NAME_LONG = Reason(
    "id-trust-domain-long",
    Kind.INVALID,
    ("ID-28",),
    "Choose a trust domain name of at most 255 bytes.",
    "The trust domain name is too long.",
)
ID_NAME_CASE = Reason(
    "id-trust-domain-case",
    Kind.INVALID,
    ("ID-09", "ID-29"),
    "Write the trust domain name in lower case.",
    "Upper case in a trust domain name is refused instead of folded, so that each domain has one spelling.",
)
ID_NAME_CHARACTERS = Reason(
    "id-trust-domain-characters",
    Kind.INVALID,
    ("ID-10", "ID-11", "ID-12", "ID-13", "ID-14"),
    "Use only a-z, 0-9, dot, hyphen and underscore.",
    "The trust domain name holds a character that no name may hold.",
)
ID_QUERY = Reason("id-query", Kind.INVALID, ("ID-03",), "Leave out the question mark and what follows.")
ID_FRAGMENT = Reason("id-fragment", Kind.INVALID, ("ID-04",), "Leave out the number sign and what follows.")
ID_TRAILING_SLASH = Reason(
    "id-path-trailing-slash",
    Kind.INVALID,
    ("ID-21",),
    "Remove the slash at the end; a trust domain's ID has none.",
)
ID_EMPTY_SEGMENT = Reason(
    "id-path-empty-segment", Kind.INVALID, ("ID-19",), "Write one slash between segments."
)
ID_DOT_SEGMENT = Reason(
    "id-path-dot-segment",
    Kind.INVALID,
    ("ID-20",),
    "Write the path that is meant; nothing is resolved relative to anything.",
    "A path segment is a single or a double dot.",
)
ID_PATH_CHARACTERS = Reason(
    "id-path-characters",
    Kind.INVALID,
    ("ID-18", "ID-22"),
    "Use only letters, digits, dot, hyphen and underscore between slashes.",
    "The path holds a character that no path may hold.",
)
ID_PATH_SLASH = Reason("id-path-slash", Kind.INVALID, ("ID-05",), "Begin the path with a slash.")
ID_NOT_TRUST_DOMAIN = Reason(
    "id-not-trust-domain", Kind.INVALID, ("ID-05",), "Give the trust domain alone, without a path."
)
ID_UNEXPECTED = Reason(
    "id-unexpected",
    Kind.DENIED,
    hint="Compare the ID of the entry that the peer runs under with the ID that is configured here.",
    meaning="The peer has proven an identity, but it is not one that was asked for.",
)

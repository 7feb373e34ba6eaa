"""Reasons to refuse a certificate, an X.509-SVID or a chain."""

from finial.core.errors import Kind, Reason

X509_MALFORMED = Reason(
    "x509-malformed",
    Kind.INVALID,
    ("X509-34", "X509-37"),
    meaning="A certificate, or an extension in it, is not what X.509 says it should be.",
)
X509_LARGE = Reason("x509-large", Kind.LIMIT, meaning="A certificate is larger than any that is read.")
X509_CHAIN_LONG = Reason(
    "x509-chain-long",
    Kind.LIMIT,
    hint="Send the leaf and the intermediates that lead to the root, nothing else.",
    meaning="More certificates were presented than a chain may have.",
)
X509_NO_CERTIFICATE = Reason(
    "x509-no-certificate", Kind.INVALID, ("X509-35",), meaning="Nothing was presented to verify or to load."
)
X509_SERIAL = Reason(
    "x509-serial", Kind.INVALID, ("X509-34",), meaning="The serial number of a certificate is not positive."
)
X509_SIGNATURE_ALGORITHM = Reason(
    "x509-signature-algorithm",
    Kind.UNTRUSTED,
    ("X509-34",),
    "Have the certificate signed with SHA-256 or stronger.",
    "A certificate is signed with an algorithm that is broken or unknown, or says two different ones.",
)
X509_CRITICAL_EXTENSION = Reason(
    "x509-critical-extension",
    Kind.UNTRUSTED,
    ("X509-34",),
    meaning="A certificate has a critical extension that is not known here, so it cannot be honoured.",
)

# The leaf
X509_NO_URI = Reason(
    "x509-no-spiffe-id",
    Kind.INVALID,
    ("X509-01", "X509-03"),
    "Present the X.509-SVID, not a certificate of some other authority.",
    "The leaf has no URI among its names, so it is no X.509-SVID.",
)
X509_MANY_URIS = Reason(
    "x509-many-uris",
    Kind.INVALID,
    ("X509-01", "X509-02", "X509-40"),
    meaning="The leaf has more than one URI among its names, so which one is meant cannot be said.",
)
X509_URI_SCHEME = Reason(
    "x509-uri-scheme",
    Kind.INVALID,
    ("X509-38", "ID-42"),
    meaning="The leaf's URI is not of the scheme spiffe.",
)
X509_ID = Reason(
    "x509-spiffe-id",
    Kind.INVALID,
    ("X509-41",),
    meaning="The leaf's URI is of the scheme spiffe, but breaks the grammar of SPIFFE IDs.",
)
X509_ROOT_ID = Reason(
    "x509-root-id",
    Kind.INVALID,
    ("X509-06", "X509-39"),
    "Give the entry a path.",
    "The leaf's SPIFFE ID is that of a trust domain, which names no workload.",
)
X509_LEAF_CA = Reason(
    "x509-leaf-is-ca",
    Kind.UNTRUSTED,
    ("X509-05", "X509-15", "X509-19", "X509-36", "X509-54"),
    "Present a leaf certificate; a signing certificate authenticates nobody.",
    "The certificate presented as a leaf is a signing certificate.",
)
X509_LEAF_SIGNS = Reason(
    "x509-leaf-signs",
    Kind.UNTRUSTED,
    ("X509-15", "X509-29", "X509-37", "X509-55"),
    meaning="The leaf's key usage allows signing certificates or revocation lists.",
)
X509_LEAF_KEY_USAGE = Reason(
    "x509-leaf-key-usage",
    Kind.UNTRUSTED,
    ("X509-23", "X509-27", "X509-56"),
    "Have the authority set digitalSignature.",
    "The leaf's key usage is missing or does not allow digital signatures.",
)

# Signing certificates
X509_NOT_CA = Reason(
    "x509-not-ca",
    Kind.UNTRUSTED,
    ("X509-09", "X509-18", "X509-54"),
    meaning="A certificate that signs another is not marked as a signing certificate.",
)
X509_CA_KEY_USAGE = Reason(
    "x509-ca-key-usage",
    Kind.UNTRUSTED,
    ("X509-09", "X509-25", "X509-55"),
    meaning="A certificate that signs another has a key usage without keyCertSign.",
)

# The path
X509_NO_BUNDLE = Reason(
    "x509-no-bundle",
    Kind.UNTRUSTED,
    ("X509-35", "X509-41", "ID-31", "BUNDLE-03", "BUNDLE-06"),
    "Federate with that trust domain, and let the entry of this workload name it in federates_with.",
    "There is no federation with the trust domain that the leaf names: no bundle of that name is held.",
)
X509_EMPTY_BUNDLE = Reason(
    "x509-empty-bundle",
    Kind.UNTRUSTED,
    ("X509-53", "BUNDLE-23"),
    "Ask the operator of that trust domain; it has withdrawn its authorities, or never had any for X.509.",
    "The bundle of the trust domain that the leaf names holds no X.509 authority.",
)
X509_UNKNOWN_AUTHORITY = Reason(
    "x509-unknown-authority",
    Kind.UNTRUSTED,
    ("X509-34", "X509-41", "ID-17", "ID-31"),
    "Compare the issuer with the authorities of the bundle; one of the two may be out of date.",
    "No chain leads from the leaf to an authority of the bundle of the trust domain that it names.",
)
X509_SIGNATURE = Reason(
    "x509-signature",
    Kind.UNTRUSTED,
    ("X509-34", "ID-37", "ID-38"),
    "Two authorities may share a name, for instance after a reinstallation; renew the bundle and the SVID.",
    "A certificate names an issuer that is known, but was not signed by it, or was changed afterwards.",
)
X509_SEARCH_LIMIT = Reason(
    "x509-search-limit",
    Kind.LIMIT,
    hint="Send only the intermediates of one chain.",
    meaning="So many certificates share names that looking for a chain was given up.",
)
X509_EXPIRED = Reason(
    "x509-expired",
    Kind.UNTRUSTED,
    ("X509-34",),
    "Compare the clocks; then look why the certificate was not renewed in time.",
    "A certificate of the chain has expired.",
)
X509_NOT_YET_VALID = Reason(
    "x509-not-yet-valid",
    Kind.UNTRUSTED,
    ("X509-34",),
    "Compare the clocks of this machine and of the authority.",
    "The validity of a certificate of the chain has not begun.",
)
X509_PATH_LENGTH = Reason(
    "x509-path-length",
    Kind.UNTRUSTED,
    ("X509-17", "X509-34"),
    meaning="Below a signing certificate stand more intermediates than it allows.",
)
X509_NAME_CONSTRAINT = Reason(
    "x509-name-constraint",
    Kind.UNTRUSTED,
    ("X509-20", "X509-34"),
    "Ask the owner of the constrained authority; the name is outside what it may certify.",
    "A name lies outside what a signing certificate above it allows.",
)
X509_NAME_CONSTRAINT_KIND = Reason(
    "x509-name-constraint-kind",
    Kind.UNTRUSTED,
    ("X509-34",),
    meaning="A name constraint is of a kind or a form that cannot be evaluated, so it cannot be honoured.",
)
X509_NAME_CONSTRAINT_LIMIT = Reason(
    "x509-name-constraint-limit",
    Kind.LIMIT,
    meaning="There are so many names and name constraints that comparing them was not begun.",
)

"""Reasons to refuse PEM text or a key."""

from finial.core.errors import Kind, Reason

PEM_MALFORMED = Reason(
    "pem-malformed",
    Kind.INVALID,
    hint="Check that the file was copied whole, from its BEGIN line to its END line.",
    meaning="PEM text is cut off, its labels do not agree, or what stands between them is not base64.",
)
PEM_LARGE = Reason("pem-large", Kind.LIMIT, meaning="PEM text is larger than anything that is read as one.")
PEM_LABEL = Reason(
    "pem-label",
    Kind.INVALID,
    hint="Look at the BEGIN lines: certificates and the key may have been given in each other's place.",
    meaning="The text holds no block, or too many, of the kind that was asked for.",
)
KEY_MALFORMED = Reason(
    "key-malformed",
    Kind.INVALID,
    hint="Give the private key as unencrypted PKCS#8.",
    meaning="A key cannot be read.",
)
KEY_TYPE = Reason(
    "key-type",
    Kind.INVALID,
    hint="Use EC P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519.",
    meaning="The algorithm or curve of a key is not one that is supported.",
)
KEY_WEAK = Reason(
    "key-weak",
    Kind.UNTRUSTED,
    hint="Replace the key; RSA needs 2048 to 8192 bits and an odd exponent of at least 65537.",
    meaning="A key is of a size, or has a parameter, that gives no security or costs too much to check.",
)
KEY_MISMATCH = Reason(
    "key-mismatch",
    Kind.INVALID,
    ("ID-39",),
    "Check that the key file and the certificate file were written together.",
    "The private key does not belong to the certificate.",
)
CSR_MALFORMED = Reason(
    "csr-malformed",
    Kind.INVALID,
    hint="Send one PKCS#10 request in DER.",
    meaning="A request cannot be read.",
)
CSR_SIGNATURE = Reason(
    "csr-signature",
    Kind.UNTRUSTED,
    ("ID-39",),
    "Sign the request with the key that it asks a certificate for.",
    "A request is not signed by its own key, so nobody has shown to hold that key.",
)
CSR_NAMES = Reason(
    "csr-names",
    Kind.INVALID,
    ("X509-01",),
    "Ask for exactly one SPIFFE ID, and for no DNS name twice.",
    "A request does not have exactly one URI among its names, or names that overlap.",
)

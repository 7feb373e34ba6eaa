"""The rules of X.509-SVIDs, of the certificates that sign them, and of the path between.

Decisions where the standard leaves room, or binds only the issuer:

- A leaf needs key usage with digitalSignature, also when a peer presents it (X509-23 and X509-27 bind the
  issuer). Any issuer that keeps the standard sets it, and the libraries around refuse to load one without.
- Extended key usage of a peer's leaf is not judged: X509-32 binds the issuer, and other validators accept a
  leaf with one of the two purposes. What leaves our own authority always has both.
- Extended key usage of a signing certificate restricts nothing below it (X509-33).
- A signing certificate's own SPIFFE ID, and whether it has a path or a slash at the end, is judged only when
  we issue it (X509-10..X509-12): it takes no part in proving a leaf, but name constraints above do apply.
- A signing certificate may lack key usage (an enterprise root, X509-11); when it has one, keyCertSign is set.
- Name constraints and path lengths of an authority of the bundle count like those of any other certificate.
- Self-issued certificates are not exempt from name constraints: X509-20 speaks of every ID further down.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from finial.core.errors import Reason, X509ParseError, shown
from finial.core.reasons import issue
from finial.core.reasons import keys as key_reasons
from finial.core.reasons import x509 as reasons
from finial.core.rules.engine import ISSUING, PROOF, Rule, Stage, Table
from finial.core.rules.spiffe_id import SCHEME
from finial.core.x509_names import MAX_COMPARISONS, names_of, unevaluable, violation
from finial.core.x509cert import Certificate

_TLS_PURPOSES = {ExtendedKeyUsageOID.SERVER_AUTH.dotted_string, ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string}
_SIGNS = frozenset({"keyCertSign", "cRLSign"})


def _key_rule(reason: Reason) -> Rule[Certificate]:
    def check(certificate: Certificate) -> str:
        finding = certificate.key_finding
        return finding.message if finding is not None and finding.reason is reason else ""

    return Rule(reason, check)


def _no_uri(certificate: Certificate) -> str:
    return "" if certificate.names.uris else "there is no URI among the names"


def _many_uris(certificate: Certificate) -> str:
    count = len(certificate.names.uris)
    return f"there are {count} URIs among the names" if count > 1 else ""


def _uri_scheme(certificate: Certificate) -> str:
    uris = certificate.names.uris
    foreign = len(uris) == 1 and not uris[0].startswith(SCHEME)
    return f"{shown(uris[0])} is not a URI of the scheme spiffe" if foreign else ""


def _uri_grammar(certificate: Certificate) -> str:
    fault = certificate.spiffe_id_fault
    return f"the URI is no SPIFFE ID: {fault}" if fault and not _uri_scheme(certificate) else ""


def _root_id(certificate: Certificate) -> str:
    spiffe_id = certificate.spiffe_id
    return "" if spiffe_id is None or spiffe_id.path else f"{spiffe_id} is the ID of a trust domain"


def _leaf_ca(certificate: Certificate) -> str:
    constraints = certificate.basic_constraints
    return "it is a signing certificate" if constraints is not None and constraints.ca else ""


def _leaf_signs(certificate: Certificate) -> str:
    signs = certificate.key_usage.bits & _SIGNS if certificate.key_usage is not None else frozenset()
    return f"its key usage has {' and '.join(sorted(signs))}" if signs else ""


def _leaf_key_usage(certificate: Certificate) -> str:
    if certificate.key_usage is None:
        return "it has no key usage"
    return "" if "digitalSignature" in certificate.key_usage.bits else "its key usage lacks digitalSignature"


def _not_ca(certificate: Certificate) -> str:
    constraints = certificate.basic_constraints
    return "" if constraints is not None and constraints.ca else "it is not a signing certificate"


def _ca_key_usage(certificate: Certificate) -> str:
    usage = certificate.key_usage
    return "" if usage is None or "keyCertSign" in usage.bits else "its key usage lacks keyCertSign"


def _unknown_critical(certificate: Certificate) -> str:
    unknown = certificate.unknown_critical
    return f"critical extension {', '.join(unknown[:3])} is not known" if unknown else ""


def _signature_algorithm(certificate: Certificate) -> str:
    return "" if certificate.signature_sound else f"signature algorithm {certificate.signature_algorithm}"


# What only our own authority is held to


def _key_usage_critical(certificate: Certificate) -> str:
    usage = certificate.key_usage
    return "" if usage is not None and usage.critical else "its key usage is missing or not critical"


def _leaf_basic_constraints(certificate: Certificate) -> str:
    return "" if certificate.basic_constraints is not None else "it has no basic constraints"


def _leaf_extended_key_usage(certificate: Certificate) -> str:
    missing = _TLS_PURPOSES - (certificate.extended_key_usage or frozenset())
    return "its extended key usage is not that of a TLS server and client" if missing else ""


def _leaf_name_constraints(certificate: Certificate) -> str:
    return "" if certificate.name_constraints is None else "it has name constraints"


def _names_critical(certificate: Certificate) -> str:
    empty = certificate.subject == b"\x30\x00"
    return (
        "its subject is empty, its names are not critical" if empty and not certificate.names.critical else ""
    )


def _ca_id(certificate: Certificate) -> str:
    spiffe_id = certificate.spiffe_id
    return (
        "" if spiffe_id is not None and not spiffe_id.path else "its one URI is not the ID of a trust domain"
    )


def _ca_key_usage_extra(certificate: Certificate) -> str:
    usage = certificate.key_usage
    exact = usage is not None and "keyCertSign" in usage.bits and usage.bits <= _SIGNS
    return "" if exact else "its key usage is not that of a signing certificate"


_KEY_RULES = (_key_rule(key_reasons.KEY_TYPE), _key_rule(key_reasons.KEY_WEAK))

LEAF = Table(
    "X.509-SVID leaf",
    (
        Rule(reasons.X509_NO_URI, _no_uri),
        Rule(reasons.X509_MANY_URIS, _many_uris),
        Rule(reasons.X509_URI_SCHEME, _uri_scheme),
        Rule(reasons.X509_ID, _uri_grammar),
        Rule(reasons.X509_ROOT_ID, _root_id),
        Rule(reasons.X509_LEAF_CA, _leaf_ca),
        Rule(reasons.X509_LEAF_SIGNS, _leaf_signs),
        Rule(reasons.X509_LEAF_KEY_USAGE, _leaf_key_usage),
        *_KEY_RULES,
        Rule(reasons.X509_SIGNATURE_ALGORITHM, _signature_algorithm, PROOF),
        Rule(reasons.X509_CRITICAL_EXTENSION, _unknown_critical, PROOF),
        Rule(issue.X509_KEY_USAGE_CRITICAL, _key_usage_critical, ISSUING),
        Rule(issue.X509_LEAF_BASIC_CONSTRAINTS, _leaf_basic_constraints, ISSUING),
        Rule(issue.X509_LEAF_EXTENDED_KEY_USAGE, _leaf_extended_key_usage, ISSUING),
        Rule(issue.X509_LEAF_NAME_CONSTRAINTS, _leaf_name_constraints, ISSUING),
        Rule(issue.X509_NAMES_CRITICAL, _names_critical, ISSUING),
    ),
)

# An authority of a bundle; its own signature proves nothing, so its algorithm is not judged.
AUTHORITY = Table(
    "X.509 authority",
    (
        Rule(reasons.X509_NOT_CA, _not_ca),
        Rule(reasons.X509_CA_KEY_USAGE, _ca_key_usage),
        *_KEY_RULES,
        Rule(reasons.X509_CRITICAL_EXTENSION, _unknown_critical, PROOF),
        Rule(issue.X509_KEY_USAGE_CRITICAL, _key_usage_critical, ISSUING),
        Rule(issue.X509_CA_KEY_USAGE_EXTRA, _ca_key_usage_extra, ISSUING),
        Rule(issue.X509_CA_ID, _ca_id, ISSUING),
        Rule(issue.X509_NAMES_CRITICAL, _names_critical, ISSUING),
    ),
)

INTERMEDIATE = Table(
    "X.509 intermediate",
    (*AUTHORITY.rules, Rule(reasons.X509_SIGNATURE_ALGORITHM, _signature_algorithm, PROOF)),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One certificate in its place on a path.

    Args:
        certificate: The certificate.
        below: Those under it, the next one first, the leaf last; empty for the leaf.
        now: The instant of validation.
    """

    certificate: Certificate
    below: tuple[Certificate, ...]
    now: datetime


def _expired(step: Step) -> str:
    end = step.certificate.not_after
    return f"it expired at {_instant(end)}, now is {_instant(step.now)}" if step.now > end else ""


def _not_yet_valid(step: Step) -> str:
    start = step.certificate.not_before
    return f"it is valid from {_instant(start)} on, now is {_instant(step.now)}" if step.now < start else ""


def _path_length(step: Step) -> str:
    constraints = step.certificate.basic_constraints
    limit = None if constraints is None else constraints.path_length
    # The leaf does not count, nor does a certificate that only carries a signer over to a new key.
    count = sum(not certificate.self_issued for certificate in step.below[:-1])
    over = limit is not None and count > limit
    return f"{count} intermediates follow it, its path length allows {limit}" if over else ""


def _constraint_kind(step: Step) -> str:
    constraints = step.certificate.name_constraints
    return "" if constraints is None else unevaluable(constraints)


def _constraint_limit(step: Step) -> str:
    constraints = step.certificate.name_constraints
    if constraints is None:
        return ""
    # One more name each: the subject.
    names = sum(len(certificate.names.every) + 1 for certificate in step.below)
    count = names * (len(constraints.permitted) + len(constraints.excluded))
    return f"{count} comparisons, at most {MAX_COMPARISONS} are made" if count > MAX_COMPARISONS else ""


def _constraint(step: Step) -> str:
    constraints = step.certificate.name_constraints
    if constraints is None or _constraint_kind(step) or _constraint_limit(step):
        return ""
    subtrees = (*constraints.permitted, *constraints.excluded)
    subject = any(isinstance(subtree, x509.DirectoryName) for subtree in subtrees)
    try:
        names = [name for certificate in step.below for name in names_of(certificate, subject=subject)]
    except X509ParseError as refused:
        return str(refused)
    found = (violation(name, constraints) for name in names)
    return next((f"name {message}" for message in found if message), "")


def _instant(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


PATH = Table(
    "X.509 certification path",
    (
        Rule(reasons.X509_EXPIRED, _expired, frozenset({Stage.VERIFY})),
        Rule(reasons.X509_NOT_YET_VALID, _not_yet_valid, frozenset({Stage.VERIFY})),
        Rule(reasons.X509_PATH_LENGTH, _path_length, PROOF),
        Rule(reasons.X509_NAME_CONSTRAINT_KIND, _constraint_kind, PROOF),
        Rule(reasons.X509_NAME_CONSTRAINT_LIMIT, _constraint_limit, PROOF),
        Rule(reasons.X509_NAME_CONSTRAINT, _constraint, PROOF),
    ),
)

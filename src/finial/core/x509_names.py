"""Name constraints: does a name lie in a subtree.

URI constraints are compared with the trust domain name of a SPIFFE ID as RFC 5280 compares hosts: `a.test`
is that name alone, `.a.test` is every name below it. A trust domain that looks like an IP address gets no
other treatment (ID-14), although RFC 5280 would have it refused. Whatever cannot be evaluated is
reported as such, never taken as satisfied.
"""

from __future__ import annotations

import ipaddress
import re

from cryptography import x509

from finial.core.errors import X509ParseError, shown, translated
from finial.core.reasons import x509 as reasons
from finial.core.x509cert import Certificate, NameConstraints

# How often one signing certificate's constraints are compared with names: names below times subtrees.
MAX_COMPARISONS = 4096

_EVALUATED = (
    x509.UniformResourceIdentifier,
    x509.DNSName,
    x509.RFC822Name,
    x509.IPAddress,
    x509.DirectoryName,
)
# Hosts in constraints have to be plain: a URI or a port would never match, so an exclusion would fail open.
_URI_SUBTREE = re.compile(r"[a-z0-9._-]+", re.IGNORECASE | re.ASCII)
_DNS_SUBTREE = re.compile(r"[a-z0-9._-]*", re.IGNORECASE | re.ASCII)
_URI_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)")
_NETWORKS = (ipaddress.IPv4Network, ipaddress.IPv6Network)  # a single address is no subtree


def names_of(certificate: Certificate, *, subject: bool) -> tuple[x509.GeneralName, ...]:
    """The names of a certificate that constraints apply to.

    Args:
        certificate: The certificate.
        subject: Whether a subject that is not empty counts too; it does when directory names are constrained.

    Raises:
        X509ParseError: The subject cannot be read.
    """
    if not subject:
        return certificate.names.every
    # Decoded here and not in parsing: a name costs as much as all the rest, and hardly anyone constrains it.
    name = translated(lambda: x509.load_der_x509_certificate(certificate.der).subject, _unreadable)
    return (*certificate.names.every, x509.DirectoryName(name)) if name.rdns else certificate.names.every


def unevaluable(constraints: NameConstraints) -> str:
    """What about these constraints cannot be evaluated, one line; empty when all can be."""
    if not constraints.plain:
        return "name constraint with a minimum or maximum"
    for subtree in (*constraints.permitted, *constraints.excluded):
        if not isinstance(subtree, _EVALUATED):
            return f"name constraint of type {type(subtree).__name__}"
        if not _plain(subtree):
            return f"name constraint {shown(str(subtree.value))} that is no plain host or domain"
    return ""


def violation(name: x509.GeneralName, constraints: NameConstraints) -> str:
    """What is wrong with a name under some constraints, one line; empty when it is allowed.

    Args:
        name: The name; subtrees of other kinds do not concern it.
        constraints: Ones that can be evaluated.
    """
    permitted = [subtree for subtree in constraints.permitted if type(subtree) is type(name)]
    excluded = [subtree for subtree in constraints.excluded if type(subtree) is type(name)]
    if not (permitted or excluded):
        return ""
    text = shown(str(name.value))
    if isinstance(name, x509.UniformResourceIdentifier) and not _URI_HOST.match(name.value):
        return f"{text} has no host to compare with a constraint"
    if any(within(name, subtree) or _covers(name, subtree) for subtree in excluded):
        return f"{text} is excluded"
    if permitted and not any(within(name, subtree) for subtree in permitted):
        return f"{text} is not among the permitted names"
    return ""


def within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Whether a name lies in a subtree of its own kind."""
    match name, subtree:
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            host = _URI_HOST.match(name.value)
            return host is not None and _host_within(host[1].lower(), subtree.value.lower())
        case x509.DNSName(), x509.DNSName():
            base = subtree.value.lower()
            below = base if base.startswith(".") or not base else f".{base}"
            return name.value.lower() == base or name.value.lower().endswith(below)
        case x509.RFC822Name(), x509.RFC822Name():
            local, _, mail_host = name.value.rpartition("@")
            wanted, at, mail_base = subtree.value.rpartition("@")
            return (not at or local == wanted) and _host_within(mail_host.lower(), mail_base.lower())
        case x509.IPAddress(), x509.IPAddress():
            network = subtree.value
            return isinstance(network, _NETWORKS) and name.value in network
        case x509.DirectoryName(), x509.DirectoryName():
            base_names = _folded(subtree.value)
            return _folded(name.value)[: len(base_names)] == base_names
    return False


def _plain(subtree: x509.GeneralName) -> bool:
    match subtree:
        case x509.UniformResourceIdentifier():
            return _URI_SUBTREE.fullmatch(subtree.value) is not None
        case x509.DNSName():
            return _DNS_SUBTREE.fullmatch(subtree.value) is not None
    return True


def _host_within(host: str, base: str) -> bool:
    return host.endswith(base) and host != base if base.startswith(".") else host == base


def _covers(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    # `*.a.test` stands for `b.a.test` too, so it is excluded where only that one is.
    if not (isinstance(name, x509.DNSName) and isinstance(subtree, x509.DNSName)):
        return False
    return name.value.startswith("*.") and subtree.value.lower().endswith(name.value[1:].lower())


def _folded(name: x509.Name) -> list[frozenset[tuple[str, str]]]:
    # Case and runs of spaces do not tell directory names apart; otherwise they would evade an exclusion.
    return [
        frozenset(
            (attribute.oid.dotted_string, " ".join(str(attribute.value).casefold().split()))
            for attribute in rdn
        )
        for rdn in name.rdns
    ]


def _unreadable(why: str) -> X509ParseError:
    return X509ParseError.because(reasons.X509_MALFORMED, f"the subject cannot be read: {why}")

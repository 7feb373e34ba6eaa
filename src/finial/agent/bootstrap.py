"""The agent's first trust: from a file, from the last run, or, asked for by name, from nothing.

The trust domain's name comes from the roots, from the operator or from the data folder, and never from what
a server presents.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from finial.agent.config import AgentSettings
from finial.agent.disk import Disk
from finial.agent.fetch import fetch_bundle
from finial.agent.identity import NodeIdentity
from finial.agent.link import FirstContact
from finial.agent.node import PATIENCE, persist
from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle
from finial.core.errors import BundleError, FinialError, Kind, Reason
from finial.core.ids import TrustDomain
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY
from finial.core.x509cert import Certificate
from finial.rpc import Tcp
from finial.runtime import files
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields

_log = logging.getLogger("finial.agent")

_SHOW = "Get the right one: finial server bundle show, on the server's machine."
_MALFORMED = Reason("agent-bundle-malformed", Kind.INVALID, hint=_SHOW)
_FOREIGN = Reason(
    "agent-bundle-foreign", Kind.CONFLICT, hint="Correct --trust-domain or --trust-bundle, one of the two."
)
_NAMELESS = Reason("agent-domain-unknown", Kind.INVALID, hint="Name the trust domain by --trust-domain.")
_NO_TRUST = Reason(
    "agent-trust-missing",
    Kind.INVALID,
    hint="Give --trust-bundle FILE, which finial server bundle show writes.",
)
_FOREIGN_DATA = Reason(
    "agent-data-foreign",
    Kind.CONFLICT,
    hint="Choose another data folder, or delete this one if its node shall change over.",
)

# Only to read a document with, before it is known whose it is.
_UNNAMED = TrustDomain("unnamed")


class TrustError(FinialError):
    """There is nothing to know the server by, or it contradicts itself."""


@dataclass(frozen=True, slots=True)
class Start:
    """What an agent starts with.

    Args:
        trust_domain: Its own.
        bundle: What it knows the server by; None when it shall believe the first that answers.
        identity: Of an earlier run; None for a node that has to join.
    """

    trust_domain: TrustDomain
    bundle: Bundle | None
    identity: NodeIdentity | None


def look_around(settings: AgentSettings, disk: Disk, now: datetime) -> Start:
    """Put together what the operator gave and what the data folder holds.

    A node that has joined goes by the bundle of its last run, which is newer than any file, as long as an
    authority in it is valid; a node that has not, by the file.

    Args:
        settings: What the operator gave.
        disk: The data folder.
        now: Aware.

    Raises:
        TrustError: The two contradict each other, or there is too little.
        FinialError: A file cannot be read.
    """
    given = settings.trust_bundle
    file = None if given is None else read_trust(given, settings.trust_domain)
    identity, kept = disk.identity(), disk.bundle()
    named = settings.trust_domain or (None if file is None else file.trust_domain)
    held = [each for each in (identity and identity.id.trust_domain, kept and kept.trust_domain) if each]
    trust_domain = named or next(iter(held), None)
    if trust_domain is None:
        raise TrustError(_NO_TRUST, "nothing says which server can be trusted")
    for domain in held:
        if domain != trust_domain:
            message = f"the data folder {disk.path} is of trust domain {domain}, not of {trust_domain}"
            raise TrustError(_FOREIGN_DATA, message, subject=str(disk.path))
    alive = kept is not None and any(each.not_after > now for each in kept.x509_authorities)
    order = [kept if alive and identity is not None else None, file, kept if alive else None]
    bundle = next((each for each in order if each is not None), None)
    if bundle is None and not settings.insecure_bootstrap:
        bundle = kept
    if bundle is None and not settings.insecure_bootstrap:
        message = f"nothing says by which authorities the server of {trust_domain} is known"
        raise TrustError(_NO_TRUST, message, subject=trust_domain.name)
    return Start(trust_domain, bundle, identity)


def read_trust(path: Path, expected: TrustDomain | None) -> Bundle:
    """The bundle in a file, PEM or a SPIFFE bundle document.

    Args:
        path: Of the file.
        expected: Whose it has to be; None takes the name that all its roots agree on.

    Raises:
        TrustError: It is no bundle, names no trust domain, or another one than expected.
        FileError: It cannot be read.
    """
    data = files.read(path)
    try:
        roots = _document(path, data) if data.lstrip()[:1] == b"{" else _pem(data)
    except FinialError as error:
        message = f"the trust bundle {path} is none: {error.message}"
        raise TrustError(_MALFORMED, message, subject=str(path)) from error
    names = {each.spiffe_id.trust_domain for each in roots if each.spiffe_id is not None}
    if expected is None:
        if len(names) != 1 or any(each.spiffe_id is None or each.spiffe_id.path for each in roots):
            message = f"the certificates in {path} do not agree on the name of a trust domain"
            raise TrustError(_NAMELESS, message, subject=str(path))
        expected = names.pop()
    for name in sorted(names - {expected}):
        message = f"the trust bundle {path} is of trust domain {name}, not of {expected}"
        raise TrustError(_FOREIGN, message, subject=str(path))
    return Bundle(trust_domain=expected, x509_authorities=roots)


def _document(path: Path, data: bytes) -> tuple[Certificate, ...]:
    read = read_bundle(_UNNAMED, data)
    for finding in read.broken:
        _log.warning("an entry of the trust bundle is passed over", extra=fields(file=path, why=finding))
    if not read.bundle.x509_authorities:
        raise BundleError.because(_MALFORMED, "it holds no X.509 authority")
    return read.bundle.x509_authorities


def _pem(data: bytes) -> tuple[Certificate, ...]:
    ders = pem.read_certificates(data)
    roots = tuple(Certificate.parse(der, f"certificate {at}") for at, der in enumerate(ders, 1))
    for at, root in enumerate(roots, 1):
        findings = AUTHORITY.findings(root, Stage.PARSE, f"certificate {at}")
        if findings:
            raise BundleError(findings)
    return roots


async def believe(target: Tcp, trust_domain: TrustDomain, *, clock: Clock, chance: Chance) -> Bundle:
    """The bundle that whoever answers for the server gives: no proof of anything.

    Args:
        target: Where the server is.
        trust_domain: Its own.
        clock: Time.
        chance: Spreads the tries.

    Raises:
        FinialError: It cannot be reached, or does not even say that it is the server.
    """
    _log.warning(
        "INSECURE BOOTSTRAP: whoever answers is taken for the server",
        extra=fields(server=target, trust_domain=trust_domain),
    )
    contact = FirstContact(target, trust_domain)

    async def once() -> Bundle:
        async with contact.channel() as channel:
            return await fetch_bundle(channel, trust_domain)

    return await persist(once, contact, clock=clock, chance=chance, patience=PATIENCE)

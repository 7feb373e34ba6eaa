"""Federation relationships as values: with whom, where, and how the endpoint's server is known.

A relationship is one-way (FED-60) and says everything itself: the trust domain is never taken from the URL,
from a certificate or from a document, and one profile is never tried in place of the other (FED-68, FED-69).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from finial.core import uri
from finial.core.bundle import Bundle, BundleSource
from finial.core.errors import FederationError, Finding, Reason, RefusedError, shown
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.reasons import federation as reasons
from finial.core.rules.engine import Stage
from finial.core.rules.federation import ENDPOINT_URL, RELATIONSHIP, SPIFFE, WEB, Parameters, cut_url

_DEFAULT_PORT = 443

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class EndpointURL:
    """The address of a bundle endpoint, valid for either profile.

    Args:
        text: The URL; kept byte for byte.

    Raises:
        FederationError: It breaks a rule. Clauses: FED-25..FED-27, FED-40..FED-42.
    """

    text: str
    host: str = field(init=False, repr=False)
    port: int = field(init=False, repr=False)
    target: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        url = cut_url(self.text)
        findings = ENDPOINT_URL.findings(url, Stage.PARSE)
        if findings or url.parts is None or url.authority is None:
            raise FederationError(findings)
        address, port = uri.ip_address(url.authority.host), url.authority.port
        host = url.authority.host.lower() if address is None else str(address)
        query = "" if url.parts.query is None else f"?{url.parts.query}"
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "port", (uri.port_number(port) if port else None) or _DEFAULT_PORT)
        object.__setattr__(self, "target", f"{url.parts.path or '/'}{query}")

    def __str__(self) -> str:
        return self.text

    def leads_to(self, location: str) -> EndpointURL:
        """The address that a redirect from this one leads to.

        Args:
            location: As the answer has it, whole or relative.

        Raises:
            FederationError: It is no address of a bundle endpoint. Clauses: FED-39, FED-59.
        """
        base, reference = uri.cut(self.text), uri.cut(location)
        if base is None or reference is None:
            message = "the redirect leads to what is no URL"
            raise FederationError.because(reasons.REDIRECT_TARGET, message)
        try:
            return EndpointURL(str(uri.resolved(base, reference)))
        except FederationError as refused:
            message = f"the redirect leads to a forbidden address: {refused.message}"
            raise FederationError.because(reasons.REDIRECT_TARGET, message) from refused


@dataclass(frozen=True, slots=True)
class HTTPSWeb:
    """The profile `https_web`: the server is known by its host name, under locally trusted authorities."""

    @property
    def name(self) -> str:
        """As configuration and API call it."""
        return WEB


@dataclass(frozen=True, slots=True)
class HTTPSSPIFFE:
    """The profile `https_spiffe`: the server is known by exactly one SPIFFE ID; its host name is irrelevant.

    Args:
        endpoint_id: Of the server.

    Raises:
        FederationError: No server can have this ID in an X.509-SVID. Clauses: FED-43, FED-54.
    """

    endpoint_id: SpiffeID

    def __post_init__(self) -> None:
        if not self.endpoint_id.path:
            message = f"{self.endpoint_id} is the ID of a trust domain, which no server has"
            raise FederationError.because(reasons.ENDPOINT_ID, message)

    @property
    def name(self) -> str:
        """As configuration and API call it."""
        return SPIFFE


Profile = HTTPSWeb | HTTPSSPIFFE


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """A federation relationship: what has to be known before anything is fetched. Clauses: FED-21, FED-43.

    Args:
        trust_domain: Whose bundle is fetched, and under whose name it is stored. spec: FED-71
        url: Of its endpoint.
        profile: How the endpoint's server is known.
    """

    trust_domain: TrustDomain
    url: EndpointURL
    profile: Profile

    @property
    def self_serving(self) -> bool:
        """Whether the endpoint's server is known by a bundle that it serves itself. Clauses: FED-44."""
        return isinstance(self.profile, HTTPSSPIFFE) and self.profile.endpoint_id.member_of(self.trust_domain)

    @property
    def relies_on(self) -> TrustDomain | None:
        """The trust domain whose bundle the endpoint's server is verified with; None for the Web's."""
        return self.profile.endpoint_id.trust_domain if isinstance(self.profile, HTTPSSPIFFE) else None


def read_relationship(given: Parameters, *, own: TrustDomain) -> Relationship:
    """The relationship that an operator describes.

    Args:
        given: What they gave.
        own: The trust domain that federates.

    Raises:
        FederationError: Something is missing, unknown, malformed or of no use; all of it is listed. Clauses:
            FED-21, FED-28, FED-43, FED-68, ID-17.
    """
    findings = RELATIONSHIP.findings(given, Stage.PARSE)

    def read(text: str, make: Callable[[str], _Value], reason: Reason | None = None) -> _Value | None:
        if not text:
            return None
        try:
            return make(text)
        except RefusedError as refused:
            told = [each if reason is None else Finding(reason, each.message) for each in refused.findings]
            findings.extend(told)
            return None

    domain = read(given.trust_domain, TrustDomain.from_name_or_id, reasons.PARAMETER)
    url = read(given.url, EndpointURL)
    if domain == own:
        message = f"{own} is the trust domain itself"
        findings.append(Finding(reasons.OWN_DOMAIN, message))
    profile: Profile | None = HTTPSWeb()
    if given.profile == SPIFFE:
        profile = read(given.endpoint_id, lambda text: HTTPSSPIFFE(SpiffeID(text)), reasons.ENDPOINT_ID)
    if findings or domain is None or url is None or profile is None:
        raise FederationError(findings, subject=shown(given.trust_domain))
    return Relationship(trust_domain=domain, url=url, profile=profile)


@dataclass(frozen=True, slots=True)
class VerifyHost:
    """The server's certificate has to be for a host, under a locally trusted authority. Clauses: FED-37.

    Args:
        host: A DNS name in lower case, or an IP address.
    """

    host: str


@dataclass(frozen=True, slots=True)
class VerifyID:
    """The server's certificate has to be a valid X.509-SVID of exactly one ID. Clauses: FED-54.

    Args:
        endpoint_id: The ID.
        bundle: Of its trust domain.
    """

    endpoint_id: SpiffeID
    bundle: Bundle


def verification(
    relationship: Relationship,
    at: EndpointURL,
    bundles: BundleSource,
    *,
    bootstrap: Bundle | None = None,
) -> VerifyHost | VerifyID:
    """How the server at an address has to be verified.

    A redirect changes the host that a certificate has to be for, and nothing else: the SPIFFE ID stays the
    configured one. Once a bundle is stored the first one given is of no effect, even if the stored one is
    empty: what the endpoint has revoked is not to come back.

    Args:
        relationship: What is configured.
        at: Where the request goes: the configured address, or the one that a redirect led to.
        bundles: The latest ones.
        bootstrap: What the operator gave for the first fetch from a self-serving endpoint.

    Raises:
        FederationError: There is no bundle to verify it with. Clauses: FED-43, FED-48.
    """
    profile = relationship.profile
    if isinstance(profile, HTTPSWeb):
        return VerifyHost(at.host)  # spec: FED-37, FED-79
    domain = profile.endpoint_id.trust_domain
    bundle = bundles.bundle_for(domain)  # spec: FED-56, FED-57
    if bundle is None and relationship.self_serving:
        bundle = bootstrap  # spec: FED-45, FED-55
    if bundle is None or bundle.trust_domain != domain:
        message = (
            f"the endpoint of {relationship.trust_domain} has to be {profile.endpoint_id}, and there is no"
            f" bundle of {domain} to verify that with"
        )
        raise FederationError.because(reasons.NO_BUNDLE, message)
    return VerifyID(profile.endpoint_id, bundle)  # spec: FED-54, FED-85


def endpoint_chain(
    trust_domain: TrustDomain, relationships: Mapping[TrustDomain, Relationship]
) -> tuple[TrustDomain, ...]:
    """The trust domains on whose bundles the fetching of one's bundle relies, beginning with itself.

    The chain ends where an endpoint is verified by Web authorities, by its own bundle, or by one that was
    given by hand; a chain that leads back ends with the domain that it has met before. Clauses: FED-75.
    """
    chain = [trust_domain]
    while (relationship := relationships.get(chain[-1])) is not None:
        next_one = relationship.relies_on
        if next_one is None or relationship.self_serving:
            break
        met = next_one in chain
        chain.append(next_one)
        if met:
            break
    return tuple(chain)

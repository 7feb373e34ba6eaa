"""What to make of a bundle endpoint's answer, of the bundle in it, and when to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from finial.core.bundle import Bundle
from finial.core.bundle_change import Difference, difference
from finial.core.errors import FederationError, Finding
from finial.core.federation import EndpointURL
from finial.core.reasons import federation as reasons
from finial.core.rotation import Lifetime
from finial.core.rules.engine import Stage
from finial.core.rules.federation import ANSWER, REDIRECT, REDIRECTS, TEMPORARY, Answer

DEFAULT_INTERVAL = timedelta(minutes=5)
CONTENT_TYPE = "application/json"
LEAD_IN_HINTS = 5
"""How many polls fit between the publication of a key and its first use. Clauses: FED-04."""


def redirected(url: EndpointURL, answer: Answer) -> EndpointURL | None:
    """Where to go on asking; None when the answer is no redirect.

    The address is for this one request: the next one begins at the configured address again, whatever sort of
    redirect it was (FED-80, FED-86). The TLS checks are made anew for it.

    Args:
        url: What was asked.
        answer: What it answered.

    Raises:
        FederationError: The redirect must not be followed. Clauses: FED-39, FED-59, FED-73.
    """
    if answer.status not in REDIRECTS:
        return None
    finding = REDIRECT.first(answer, Stage.PARSE)
    if finding is not None:
        raise FederationError([finding], subject=url.host)
    return url.leads_to(answer.location or "")


def check_answer(url: EndpointURL, answer: Answer) -> None:
    """Return when the body of an answer may be read, up to the size of a bundle document.

    Args:
        url: What was asked.
        answer: What it answered, when that is no redirect.

    Raises:
        FederationError: It is no bundle; the stored one stays in force. Clauses: FED-33, FED-64.
    """
    findings = ANSWER.findings(answer, Stage.PARSE)
    if findings:
        raise FederationError(findings, subject=url.host)


@dataclass(frozen=True, slots=True)
class EndpointRedirect:
    """Where our own endpoint sends those who ask. Clauses: FED-36, FED-53.

    Args:
        status: 302, 303 or 307.
        target: An address that is valid for an endpoint, since this is what those who ask will hold it to.

    Raises:
        FederationError: It would be a redirect for good. Clauses: FED-78, FED-84.
    """

    status: int
    target: EndpointURL

    def __post_init__(self) -> None:
        if self.status not in TEMPORARY:
            message = f"a bundle endpoint redirects by 302, 303 or 307, not by {self.status}"
            raise FederationError.because(reasons.REDIRECT_PERMANENT, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The bounds within which a publisher's refresh hint counts. Clauses: BUNDLE-18.

    Args:
        floor: The shortest interval.
        ceiling: The longest one: how late a revoked key may be noticed.
        default: For a bundle without a hint. spec: FED-10, BUNDLE-44
        first: As long as there is no bundle at all.

    Raises:
        FederationError: They are not positive, or the floor is above the ceiling.
    """

    floor: timedelta = timedelta(seconds=15)
    ceiling: timedelta = timedelta(hours=1)
    default: timedelta = DEFAULT_INTERVAL
    first: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.floor <= self.ceiling or min(self.default, self.first) <= timedelta(0):
            message = (
                f"{self.floor}, {self.ceiling}, {self.default} and {self.first} are no intervals to poll at"
            )
            raise FederationError.because(reasons.PACE, message)

    def interval(self, stored: Bundle | None) -> timedelta:
        """How long to wait before a bundle is fetched again. Clauses: FED-09, FED-10.

        Args:
            stored: What the last successful fetch, or an operator, has left; None for nothing.
        """
        if stored is None:
            return self.first
        if stored.refresh_hint is None:
            return self.default
        return min(max(stored.refresh_hint, self.floor), self.ceiling)


def next_poll(now: datetime, stored: Bundle | None, pace: Pace) -> datetime:
    """When to ask an endpoint again, after a success and after a failure alike. Clauses: FED-08, FED-63.

    Args:
        now: When it was asked.
        stored: The bundle that is in force after that.
        pace: The bounds.
    """
    return now + pace.interval(stored)


class Verdict(StrEnum):
    """What a fetched bundle is to the stored one."""

    FIRST = "first"
    SAME = "same"
    NEWER = "newer"
    REPLACED = "replaced"  # the numbers do not tell, and what was fetched last counts as the latest
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a fetched bundle takes the place of the stored one.

    Args:
        verdict: What it is.
        difference: From the stored one; None for a first one.
        finding: What is to be reported although the bundle is taken, or why it is not; None for nothing.
    """

    verdict: Verdict
    difference: Difference | None = None
    finding: Finding | None = None

    @property
    def takes_over(self) -> bool:
        """Whether it is to be stored and distributed. Clauses: FED-61, FED-62."""
        return self.verdict not in {Verdict.SAME, Verdict.OLDER}


def judge(fetched: Bundle, stored: Bundle | None, *, by_hand: bool = False) -> Judgement:
    """What a fetched bundle is to the stored one of its trust domain. Clauses: FED-11..FED-14.

    Args:
        fetched: Just now, from the endpoint.
        stored: What is in force; None for nothing.
        by_hand: Whether an operator has set it since the last fetch: it counts until the next one, and its
            number says nothing about the endpoint's.

    Raises:
        BundleError: They are of two trust domains. Clauses: FED-15, FED-71.
    """
    if stored is None:
        return Judgement(Verdict.FIRST)
    found = difference(stored, fetched)
    if not found or (not fetched.sequence and fetched.same_content(stored)):
        return Judgement(Verdict.SAME, found)
    if by_hand:
        return Judgement(Verdict.REPLACED, found)
    if not fetched.sequence:
        finding = None
        if stored.sequence:
            message = f"the bundle has no sequence number, the one before had {stored.sequence}"
            finding = Finding(reasons.UNNUMBERED, message, fetched.trust_domain.name)
        return Judgement(Verdict.REPLACED, found, finding)
    if fetched.sequence < stored.sequence:
        message = f"the bundle has the sequence number {fetched.sequence}, the stored one {stored.sequence}"
        return Judgement(Verdict.OLDER, found, Finding(reasons.OLDER, message, fetched.trust_domain.name))
    if fetched.sequence == stored.sequence:
        message = f"another bundle had the sequence number {fetched.sequence} before"
        finding = Finding(reasons.SAME_NUMBER, message, fetched.trust_domain.name)
        return Judgement(Verdict.REPLACED, found, finding)
    return Judgement(Verdict.NEWER, found)


def refresh_hint_for(authority: Lifetime) -> timedelta:
    """How often others are to fetch our bundle, so that they have a new key before it is used.

    Several polls fit into the time between the publication of an authority and its first use; it is five
    minutes where that time is long. Clauses: FED-04, BUNDLE-43.

    Args:
        authority: How long authorities live.
    """
    lead = authority.activate_at() - authority.prepare_at()
    return min(DEFAULT_INTERVAL, max(lead // LEAD_IN_HINTS, timedelta(seconds=1)))

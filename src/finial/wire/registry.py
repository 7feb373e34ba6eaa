"""Registration entries and what they are made of: messages of the server's API, and values of ours.

Reading is total: whatever a message holds, it becomes a value or an error of ours whose findings name the
field as the API does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from finial.core.claims import LAST_SECOND
from finial.core.entry import RegistrationEntry
from finial.core.errors import (
    EntryError,
    Finding,
    Kind,
    Reason,
    RefusedError,
    SelectorError,
    SpiffeIDError,
    translated,
)
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.reasons import registry as reasons
from finial.core.selectors import Selector, SetMatch, set_matches
from finial.wire.gen import spire_api_types as types
from finial.wire.methods import decoder

_T = TypeVar("_T")
_E = TypeVar("_E", bound=RefusedError)

MATCH_UNKNOWN: Final = Reason(
    "match-behavior",
    Kind.INVALID,
    hint="Use one of MATCH_EXACT, MATCH_SUBSET, MATCH_SUPERSET and MATCH_ANY.",
    meaning="A filter asks for a comparison that is not known.",
)
DOMAINS_EMPTY: Final = Reason(
    "trust-domain-list-empty",
    Kind.INVALID,
    meaning="A set of trust domains that must match something is empty.",
)
UNREADABLE: Final = Reason("entry-unreadable", Kind.INVALID, meaning="Bytes are no encoded entry.")
UNSAYABLE: Final = Reason(
    "entry-unsayable", Kind.INVALID, meaning="An entry holds a value that the API has no room for."
)

# The two enums have the same numbers.
_MATCHES: Final = MappingProxyType(
    {
        0: SetMatch.EXACT,
        1: SetMatch.SUBSET,
        2: SetMatch.SUPERSET,
        3: SetMatch.ANY,
    }
)

_decode = decoder(types.Entry)


@dataclass(frozen=True, slots=True)
class SetFilter(Generic[_T]):
    """A set to compare stored sets with.

    Args:
        how: The comparison.
        given: The set; not empty.
    """

    how: SetMatch
    given: frozenset[_T]

    def matches(self, stored: frozenset[_T]) -> bool:
        """Whether a stored set is one that is looked for."""
        return set_matches(stored, self.given, self.how)


def placed(error: RefusedError, where: str) -> list[Finding]:
    """The findings of an error, seen in this field; what they name already stands behind it.

    Args:
        error: Raised while the field was read.
        where: The field's name.
    """
    return [
        replace(finding, where=f"{where}.{finding.where}" if finding.where else where)
        for finding in error.findings
    ]


def id_message(spiffe_id: SpiffeID) -> types.SPIFFEID:
    """A SPIFFE ID in its two parts."""
    return types.SPIFFEID(trust_domain=spiffe_id.trust_domain.name, path=spiffe_id.path)


def read_id(message: types.SPIFFEID, where: str = "id") -> SpiffeID:
    """The SPIFFE ID that a message holds.

    Args:
        message: The two parts.
        where: The field's name.

    Raises:
        SpiffeIDError: They make none.
    """
    try:
        return SpiffeID.from_path(TrustDomain.from_name_or_id(message.trust_domain), message.path)
    except SpiffeIDError as error:
        raise SpiffeIDError(placed(error, where), subject=error.subject) from error


def read_domain(text: str, where: str = "trust_domain") -> TrustDomain:
    """The trust domain that a text names, bare or (as SPIRE's users write it) by its ID.

    Args:
        text: The name.
        where: The field's name.

    Raises:
        SpiffeIDError: It names none.
    """
    try:
        return TrustDomain.from_name_or_id(text)
    except SpiffeIDError as error:
        raise SpiffeIDError(placed(error, where), subject=error.subject) from error


def selector_messages(selectors: Iterable[Selector]) -> list[types.Selector]:
    """Selectors, in the order given."""
    return [types.Selector(type=each.type, value=each.value) for each in selectors]


def read_selectors(messages: Iterable[types.Selector], where: str = "selectors") -> tuple[Selector, ...]:
    """The selectors that some messages hold, in their order.

    Args:
        messages: Any number.
        where: The field's name.

    Raises:
        SelectorError: One or more are malformed.
    """
    good, findings = _each(messages, _read_selector, where)
    if findings:
        raise SelectorError(findings)
    return good


def read_selector_match(message: types.SelectorMatch) -> SetFilter[Selector]:
    """A filter by selectors.

    Raises:
        SelectorError: It has no selector, a malformed one, or an unknown comparison.
    """
    given = frozenset(read_selectors(message.selectors))
    if not given:
        raise SelectorError.because(reasons.SELECTORS_EMPTY, "empty selector set")
    return SetFilter(_read_how(message.match, SelectorError), given)


def read_federates_with_match(message: types.FederatesWithMatch) -> SetFilter[TrustDomain]:
    """A filter by foreign trust domains.

    Raises:
        SpiffeIDError: It has no trust domain, a malformed one, or an unknown comparison.
    """
    given, findings = _each(message.trust_domains, TrustDomain.from_name_or_id, "trust_domains")
    if findings:
        raise SpiffeIDError(findings)
    if not given:
        raise SpiffeIDError.because(DOMAINS_EMPTY, "empty trust domain set")
    return SetFilter(_read_how(message.match, SpiffeIDError), frozenset(given))


def entry_message(entry: RegistrationEntry) -> types.Entry:
    """A registration entry with all its fields; times that are not set are 0.

    Raises:
        EntryError: It holds what no message can: a lifetime of more than 68 years, text that is no Unicode.
    """

    def refuse(why: str) -> EntryError:
        return EntryError.because(UNSAYABLE, f"the entry cannot be encoded: {why}")

    return translated(lambda: _entry_message(entry), refuse)


def _entry_message(entry: RegistrationEntry) -> types.Entry:
    message = types.Entry(
        id=entry.id,
        spiffe_id=id_message(entry.spiffe_id),
        parent_id=id_message(entry.parent_id),
        selectors=selector_messages(entry.selectors),
        x509_svid_ttl=_seconds(entry.x509_svid_ttl),
        federates_with=[domain.name for domain in entry.federates_with],
        admin=entry.admin,
        downstream=entry.downstream,
        expires_at=_unix(entry.expires_at),
        dns_names=entry.dns_names,
        revision_number=entry.revision,
        store_svid=entry.store_svid,
        jwt_svid_ttl=_seconds(entry.jwt_svid_ttl),
        hint=entry.hint,
        created_at=_unix(entry.created_at),
    )
    if entry.disable_x509_svid_prefetch or entry.jwt_svid_include_jti:
        message.additional_attributes.disable_x509_svid_prefetch = entry.disable_x509_svid_prefetch
        message.additional_attributes.jwt_svid_include_jti = entry.jwt_svid_include_jti
    return message


def read_entry(message: types.Entry) -> RegistrationEntry:
    """The registration entry that a message holds.

    Raises:
        EntryError: A field cannot be read, or the entry breaks a rule. When fields cannot be read these are
            all that is reported, since the rules speak of what they hold.
    """
    reading = _Reading()
    spiffe_id = reading.value(lambda: read_id(message.spiffe_id, "spiffe_id"))
    parent_id = reading.value(lambda: read_id(message.parent_id, "parent_id"))
    selectors = reading.value(lambda: read_selectors(message.selectors))
    federates_with, findings = _each(message.federates_with, TrustDomain.from_name_or_id, "federates_with")
    reading.findings += findings
    expires_at = reading.value(lambda: _instant(message.expires_at, "expires_at"))
    created_at = reading.value(lambda: _instant(message.created_at, "created_at"))
    if spiffe_id is None or parent_id is None or selectors is None or reading.findings:
        raise EntryError(reading.findings)
    return RegistrationEntry(
        id=message.id,
        spiffe_id=spiffe_id,
        parent_id=parent_id,
        selectors=selectors,
        x509_svid_ttl=timedelta(seconds=message.x509_svid_ttl),
        jwt_svid_ttl=timedelta(seconds=message.jwt_svid_ttl),
        federates_with=federates_with,
        dns_names=tuple(message.dns_names),
        hint=message.hint,
        admin=message.admin,
        downstream=message.downstream,
        store_svid=message.store_svid,
        disable_x509_svid_prefetch=message.additional_attributes.disable_x509_svid_prefetch,
        jwt_svid_include_jti=message.additional_attributes.jwt_svid_include_jti,
        expires_at=expires_at,
        created_at=created_at,
        revision=message.revision_number,
    )


def decode_entry(data: bytes) -> RegistrationEntry:
    """The registration entry in some bytes.

    Raises:
        EntryError: They are no entry, or hold one that breaks a rule.
    """
    try:
        message = _decode(data)
    except ValueError as error:
        raise EntryError.because(UNREADABLE, str(error)) from error
    return read_entry(message)


class _Reading:
    """Reads one field after the other and collects what is wrong with them."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def value(self, read: Callable[[], _T]) -> _T | None:
        """What `read` returns; None when it refuses."""
        try:
            return read()
        except RefusedError as error:
            self.findings += error.findings
            return None


_Message = TypeVar("_Message")


def _each(
    messages: Iterable[_Message], read: Callable[[_Message], _T], where: str
) -> tuple[tuple[_T, ...], list[Finding]]:
    """What can be read of a repeated field, and what is wrong with the rest."""
    good: list[_T] = []
    findings: list[Finding] = []
    for number, message in enumerate(messages):
        try:
            good.append(read(message))
        except RefusedError as error:
            findings += placed(error, f"{where}[{number}]")
    return tuple(good), findings


def _read_selector(message: types.Selector) -> Selector:
    return Selector(message.type, message.value)


def _read_how(number: int, refusal: type[_E]) -> SetMatch:
    how = _MATCHES.get(number)
    if how is None:
        raise refusal([Finding(MATCH_UNKNOWN, f"comparison {number} is unknown", "match")])
    return how


def _seconds(ttl: timedelta) -> int:
    return ttl // timedelta(seconds=1)


def _unix(instant: datetime | None) -> int:
    return 0 if instant is None else int(instant.timestamp())


def _instant(seconds: int, where: str) -> datetime | None:
    if not 0 <= seconds <= LAST_SECOND:
        message = f"{seconds} is not a time between 1970 and the year 9999"
        raise EntryError.because(reasons.ENTRY_NUMBER, message, where=where)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None

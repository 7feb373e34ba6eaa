"""Which entries a list or a count is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from finial.core.errors import FinialError
from finial.core.ids import SpiffeID, TrustDomain
from finial.server.api.replies import invalid
from finial.server.index.entries import EntryIndex
from finial.server.store.records import EntryRecord
from finial.wire import entryframes, registry
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types

_T = TypeVar("_T")

Asked = entry_pb.ListEntriesRequest.Filter | entry_pb.CountEntriesRequest.Filter


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """A filter, read once; every part of it has to hold.

    Args:
        parent_id: Whole URI; empty for any parent. The index finds these entries without looking at others.
        by_record: What is asked of the record itself.
        by_message: What has to be decoded first.
    """

    parent_id: str = ""
    by_record: tuple[Callable[[EntryRecord], bool], ...] = ()
    by_message: tuple[Callable[[types.Entry], bool], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether every entry is wanted."""
        return not (self.parent_id or self.by_record or self.by_message)

    def rows(self, entries: EntryIndex, after: int) -> Sequence[EntryRecord]:
        """The entries to look at, in the order of creation, as they are at this moment.

        Args:
            entries: All of them.
            after: Row number of the last one that has been looked at.
        """
        return entries.below(self.parent_id, after) if self.parent_id else entries.after(after)

    def wants(self, record: EntryRecord) -> bool:
        """Whether an entry that `rows` gave is wanted."""
        if not all(test(record) for test in self.by_record):
            return False
        if not self.by_message:
            return True
        message = entryframes.message_of(record)
        return all(test(message) for test in self.by_message)


def read(asked: Asked, trust_domain: TrustDomain) -> EntryFilter:
    """The filter of a request.

    Args:
        asked: As it came.
        trust_domain: Which the IDs in it have to be of.

    Raises:
        RpcError: INVALID_ARGUMENT, a part of it is malformed.
    """
    parent_id = ""
    if asked.HasField("by_parent_id"):
        parent_id = _id(asked.by_parent_id, "parent ID", trust_domain).text
    return EntryFilter(parent_id, tuple(_record_tests(asked, trust_domain)), tuple(_message_tests(asked)))


def _record_tests(asked: Asked, trust_domain: TrustDomain) -> Iterable[Callable[[EntryRecord], bool]]:
    if asked.HasField("by_spiffe_id"):
        spiffe_id = _id(asked.by_spiffe_id, "SPIFFE ID", trust_domain)
        if not spiffe_id.path or spiffe_id.reserved:
            raise invalid(f'malformed SPIFFE ID filter: "{spiffe_id}" is not a workload')
        yield lambda record: record.spiffe_id == spiffe_id.text
    if asked.HasField("by_downstream"):
        downstream = asked.by_downstream.value
        yield lambda record: record.downstream is downstream


def _message_tests(asked: Asked) -> Iterable[Callable[[types.Entry], bool]]:
    if asked.HasField("by_selectors"):
        selectors = _read(lambda: registry.read_selector_match(asked.by_selectors), "selectors")
        yield lambda entry: selectors.matches(frozenset(registry.read_selectors(entry.selectors)))
    if asked.HasField("by_federates_with"):
        domains = _read(lambda: registry.read_federates_with_match(asked.by_federates_with), "federates with")
        yield lambda entry: domains.matches(frozenset(map(TrustDomain, entry.federates_with)))
    if asked.by_hint.value:
        hint = asked.by_hint.value
        yield lambda entry: entry.hint == hint


def _id(message: types.SPIFFEID, what: str, trust_domain: TrustDomain) -> SpiffeID:
    spiffe_id = _read(lambda: registry.read_id(message, ""), what)
    if not spiffe_id.member_of(trust_domain):
        raise invalid(
            f'malformed {what} filter: "{spiffe_id}" is not a member of trust domain "{trust_domain}"'
        )
    return spiffe_id


def _read(read_part: Callable[[], _T], what: str) -> _T:
    try:
        return read_part()
    except FinialError as error:
        raise invalid(f"malformed {what} filter: {error}") from error

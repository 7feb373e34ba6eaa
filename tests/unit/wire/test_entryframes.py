"""Kept entries: the whole is one entry, its beginning is what agents ask for, answers are joined bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.wire import entryframes, masks, registry
from finial.wire.entryframes import KeptEntry
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types


def _entry(number: int = 1, **more: object) -> RegistrationEntry:
    fields: dict[str, object] = {
        "id": f"entry-{number}",
        "spiffe_id": SpiffeID("spiffe://example.org/web"),
        "parent_id": SpiffeID("spiffe://example.org/node"),
        "selectors": (Selector("unix", "uid:0"), Selector("unix", "gid:0")),
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        **more,
    }
    return RegistrationEntry(**fields)  # type: ignore[arg-type]


_FULL = _entry(
    x509_svid_ttl=timedelta(minutes=1),
    jwt_svid_ttl=timedelta(minutes=2),
    federates_with=(TrustDomain("b.test"),),
    dns_names=("z.example.org",),
    hint="h" * 200,
    admin=True,
    downstream=True,
    jwt_svid_include_jti=True,
    expires_at=datetime(2030, 1, 1, tzinfo=UTC),
    revision=3,
)


@pytest.mark.parametrize("entry", [_FULL, _entry()])
def test_the_whole_is_the_entry_and_the_beginning_is_for_agents(entry: RegistrationEntry) -> None:
    kept = entryframes.keep(entry)
    message = registry.entry_message(entry)
    assert types.Entry.FromString(entryframes.whole(kept)) == message
    assert entryframes.message_of(kept) == message
    assert registry.decode_entry(kept.data) == entry
    cut = masks.cut(registry.entry_message(entry), masks.agent_mask())
    assert types.Entry.FromString(entryframes.agent_prefix(kept)) == cut
    assert cut.id == entry.id
    # Nothing is said twice: the two halves are as long as one encoding.
    assert len(kept.data) == message.ByteSize()


def test_each_mask_gives_its_form() -> None:
    kept = entryframes.keep(_FULL)
    assert entryframes.former(None)(kept) == kept.data
    assert entryframes.former(masks.agent_mask())(kept) == kept.data[: kept.masked]
    for name in (field.name for field in types.EntryMask.DESCRIPTOR.fields):
        mask = types.EntryMask(**{name: True})
        form = types.Entry.FromString(entryframes.former(mask)(kept))
        assert form == masks.cut(registry.entry_message(_FULL), mask)
    assert entryframes.former(types.EntryMask())(kept) == types.Entry(id="entry-1").SerializeToString()


@pytest.fixture
def kept() -> list[KeptEntry]:
    return [entryframes.keep(_entry(number, hint="h" * number * 15)) for number in range(60)]


def test_answers_are_the_messages_that_they_claim_to_be(kept: list[KeptEntry]) -> None:
    forms = [each.data for each in kept]
    entries = [types.Entry.FromString(form) for form in forms[:20]]
    assert entry_pb.GetAuthorizedEntriesResponse.FromString(
        entryframes.authorized_reply(forms[:20])
    ) == entry_pb.GetAuthorizedEntriesResponse(entries=entries)
    listed = entry_pb.ListEntriesResponse.FromString(entryframes.list_reply(forms[:20], "20"))
    assert listed == entry_pb.ListEntriesResponse(entries=entries, next_page_token="20")
    for more in (False, True):
        synced = entryframes.sync_reply(forms[:20], more=more)
        expected = entry_pb.SyncAuthorizedEntriesResponse(entries=entries, more=more)
        assert entry_pb.SyncAuthorizedEntriesResponse.FromString(synced) == expected


def test_empty_answers() -> None:
    assert entryframes.authorized_reply([]) == b""
    assert entryframes.list_reply([], "") == b""
    assert entryframes.sync_reply([]) == b""
    assert entryframes.revisions_reply([]) == b""


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 16_383, 16_384, 2_100_000])
def test_lengths_of_every_width(size: int) -> None:
    form = types.Entry(hint="h" * size).SerializeToString()
    reply = entry_pb.GetAuthorizedEntriesResponse.FromString(entryframes.authorized_reply([form]))
    assert reply.entries[0].hint == "h" * size


class _Record:
    id = "entry-1"
    revision = 7
    created_at = 1_800_000_000


def test_revisions() -> None:
    reply = entryframes.revisions_reply([_Record(), _Record()], more=True)
    revision = entry_pb.EntryRevision(id="entry-1", revision_number=7, created_at=1_800_000_000)
    assert entry_pb.SyncAuthorizedEntriesResponse.FromString(reply) == entry_pb.SyncAuthorizedEntriesResponse(
        entry_revisions=[revision, revision], more=True
    )

"""Push on the wire: joined pages are the messages they stand for; what agents say is kept within bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from finial.core.bundle import Bundle
from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.core.setdigest import mark_of, to_bytes
from finial.rpc import RpcError, StatusCode
from finial.wire import bundles, entryframes, masks, push, registry
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.push import Pace, Page, Stage, State

_PACE = Pace(server_time_ms=1_790_000_000_123, silence_ms=45_000, spread_ms=4_000)
_STATE = State("epoch", 7, 2, bytes(range(16)), bytes(16))
_STATE_PB = push_pb.State(epoch="epoch", seq=7, count=2, digest=bytes(range(16)), bundles=bytes(16))
_TIMES = {"server_time_ms": 1_790_000_000_123, "silence_ms": 45_000, "spread_ms": 4_000}


def _entry(name: str, *, selectors: int = 1) -> RegistrationEntry:
    return RegistrationEntry(
        id=name,
        spiffe_id=SpiffeID(f"spiffe://example.org/{name}"),
        parent_id=SpiffeID("spiffe://example.org/node"),
        selectors=tuple(Selector("unix", f"uid:{each}") for each in range(selectors)),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        dns_names=("a.example.org",),
    )


def _item(entry: RegistrationEntry) -> tuple[bytes, push_pb.Item]:
    kept = entryframes.keep(entry)
    mark = to_bytes(mark_of(kept.data))
    message = masks.cut(registry.entry_message(entry), masks.agent_mask())
    return push.item(mark, entryframes.agent_prefix(kept)), push_pb.Item(mark=mark, entry=message)


@pytest.mark.parametrize("selectors", [1, 10, 2_000])
def test_a_joined_page_is_the_message_that_protobuf_would_write(selectors: int) -> None:
    first, first_pb = _item(_entry("a", selectors=selectors))
    second, second_pb = _item(_entry("b"))
    bundle = Bundle(trust_domain=TrustDomain("b.test"), x509_authorities=(), sequence=3)
    page = Page(
        items=[first, second],
        gone=["x", "y"],
        bundles=[bundles.encode(bundle)],
        bundles_gone=["c.test"],
        reset=True,
        number=9,
        state=_STATE,
    )
    wanted = push_pb.SubscribeResponse(
        number=9,
        reset=True,
        entries=[first_pb, second_pb],
        gone=["x", "y"],
        bundles=[bundles.bundle_message(bundle)],
        bundles_gone=["c.test"],
        state=_STATE_PB,
        **_TIMES,  # type: ignore[arg-type]
    )
    data = push.encoded(page, _PACE)
    assert push_pb.SubscribeResponse.FromString(data) == wanted
    assert len(data) == wanted.ByteSize()  # nothing is said twice
    assert push_pb.SubscribeResponse.FromString(data).SerializeToString() == wanted.SerializeToString()


def test_items_alone_are_written_byte_for_byte_as_protobuf_writes_them() -> None:
    made, message = _item(_entry("a"))
    empty = Pace(0, 0, 0)
    whole = push_pb.SubscribeResponse(entries=[message]).SerializeToString()
    # Agents' fields come in the order of their numbers, so even the entry inside is as protobuf writes it.
    assert push.encoded(Page(items=[made]), empty) == whole


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        (Page(), push_pb.SubscribeResponse()),
        (Page(more=True), push_pb.SubscribeResponse(more=True)),
        (Page(compare=True), push_pb.SubscribeResponse(compare=True)),
        (Page(number=1, state=_STATE), push_pb.SubscribeResponse(number=1, state=_STATE_PB)),
        (Page(state=State("e", 0, 0, bytes(16), bytes(16))), None),
    ],
)
def test_small_messages(page: Page, wanted: push_pb.SubscribeResponse | None) -> None:
    data = push.encoded(page, Pace(0, 0, 0))
    message = push_pb.SubscribeResponse.FromString(data)
    if wanted is None:
        assert message.HasField("state")
        assert push.state_of(message.state) == page.state
    else:
        assert message == wanted
        assert message.HasField("state") == (page.state is not None)


def test_a_state_goes_out_and_comes_back() -> None:
    assert push.state_message(_STATE) == _STATE_PB
    assert push.state_of(_STATE_PB) == _STATE
    assert _STATE.same_entries(State("other", 9, 2, bytes(range(16)), bytes(range(16))))
    assert not _STATE.same_entries(State("epoch", 7, 3, bytes(range(16)), bytes(16)))
    assert not _STATE.same_entries(State("epoch", 7, 2, bytes(16), bytes(16)))
    assert _STATE.says_alike(replace(_STATE, seq=9))
    others = (replace(_STATE, epoch="other"), replace(_STATE, count=9), replace(_STATE, bundles=b"x" * 16))
    assert not any(_STATE.says_alike(other) for other in others)


def _said(**step: object) -> object:
    return push.read_request(push_pb.SubscribeRequest(**step).SerializeToString())  # type: ignore[arg-type]


def test_what_agents_say_is_read_as_values() -> None:
    assert _said(hello=push_pb.Hello(version="1.2")) == push.Hello(None, "1.2")
    assert _said(hello=push_pb.Hello(state=_STATE_PB)) == push.Hello(_STATE, "")
    marks = [push_pb.Mark(id="a", mark=bytes(16)), push_pb.Mark(id="b", mark=b"m" * 16)]
    held = _said(held=push_pb.Held(entries=marks, more=True))
    assert held == push.Held((("a", bytes(16)), ("b", b"m" * 16)), more=True)
    assert _said(held=push_pb.Held()) == push.Held((), more=False)
    assert _said(applied=push_pb.Applied(number=2**64 - 1)) == push.Applied(2**64 - 1)


def test_a_report_is_read_as_it_is_asked_for() -> None:
    progress = [
        push_pb.Progress(entry_id="a", revision=-3, stage=push_pb.Progress.SIGNED),
        push_pb.Progress(entry_id="a", revision=4, stage=push_pb.Progress.DELIVERED),
        push_pb.Progress(entry_id="b", stage=push_pb.Progress.FAILED, trouble="x" * 10_000),
        push_pb.Progress(entry_id="b"),
        push_pb.Progress(stage=push_pb.Progress.SIGNED),
        push_pb.Progress(entry_id="i" * 256, stage=push_pb.Progress.SIGNED),
        push_pb.Progress(entry_id="b", stage=77),  # type: ignore[arg-type]
    ]
    resting = [push_pb.Resting(authority_id="a1", svids=4), push_pb.Resting(authority_id="a2")]
    report = _said(report=push_pb.Report(progress=progress, resting=resting))
    assert isinstance(report, push.Report)
    assert len(report) == 7
    assert report.resting == {"a1": 4, "a2": 0}
    assert list(report.steps()) == [
        push.Step("a", -3, Stage.SIGNED, ""),
        push.Step("a", 4, Stage.DELIVERED, ""),
        push.Step("b", 0, Stage.FAILED, "x" * 200),
    ]
    nothing = _said(report=push_pb.Report())
    assert isinstance(nothing, push.Report)
    assert (len(nothing), nothing.resting, list(nothing.steps())) == (0, {}, [])


def test_a_long_version_is_cut() -> None:
    assert _said(hello=push_pb.Hello(version="v" * 500)) == push.Hello(None, "v" * 100)


def _state(**other: object) -> push_pb.Hello:
    values: dict[str, object] = {"epoch": "e", "digest": bytes(16), "bundles": bytes(16), **other}
    return push_pb.Hello(state=push_pb.State(**values))  # type: ignore[arg-type]


_MARK = push_pb.Mark(id="a", mark=bytes(16))


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({}, "the message says nothing"),
        ({"hello": _state(epoch="")}, "an epoch of 0 characters"),
        ({"hello": _state(epoch="e" * 65)}, "an epoch of 65 characters"),
        ({"hello": _state(digest=bytes(15))}, "a digest of entries of 15 bytes, not 16"),
        ({"hello": _state(bundles=b"")}, "a digest of bundles of 0 bytes, not 16"),
        ({"held": push_pb.Held(entries=[push_pb.Mark(mark=bytes(16))])}, "an entry id of 0 characters"),
        ({"held": push_pb.Held(entries=[_MARK, push_pb.Mark(id="i" * 256)])}, "an entry id of 256"),
        ({"held": push_pb.Held(entries=[push_pb.Mark(id="a", mark=bytes(17))])}, "a mark of 17 bytes"),
        ({"held": push_pb.Held(entries=[_MARK] * 5_001)}, "5001 marks in one message, at most 5000"),
        ({"report": push_pb.Report(progress=[push_pb.Progress()] * 5_001)}, "5001 steps in one report"),
        ({"report": push_pb.Report(resting=[push_pb.Resting(authority_id="a")] * 101)}, "101 authorities"),
        ({"report": push_pb.Report(resting=[push_pb.Resting()])}, "an authority id of 0 characters"),
        ({"report": push_pb.Report(resting=[push_pb.Resting(authority_id="a" * 129)])}, "of 129 characters"),
        ({"hello": push_pb.Hello(version="v" * (1 << 20))}, "bytes in one message, at most 1048576"),
    ],
)
def test_what_is_too_much_or_cannot_be_is_refused(step: dict[str, object], why: str) -> None:
    with pytest.raises(RpcError, match=why) as caught:
        _said(**step)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message_are_no_value() -> None:
    with pytest.raises(ValueError, match="SubscribeRequest"):
        push.read_request(b"\xff\xff\xff")


def test_the_method_reads_values_and_sends_bytes() -> None:
    method = push.SUBSCRIBE
    assert method.path == "/finial.api.server.push.v1.Push/Subscribe"
    said = push_pb.SubscribeRequest(applied=push_pb.Applied(number=3)).SerializeToString()
    assert method.decode_request(said) == push.Applied(3)
    assert method.encode_reply(b"abc") == b"abc"


def test_tags_are_those_of_the_proto_file() -> None:
    answer = push_pb.SubscribeResponse.DESCRIPTOR.fields_by_name
    parts = push_pb.Item.DESCRIPTOR.fields_by_name
    tags = [
        answer["entries"].number << 3 | 2, answer["bundles"].number << 3 | 2, parts["mark"].number << 3 | 2,
        parts["entry"].number << 3 | 2,
    ]  # fmt: skip
    assert tags == [push._ENTRIES, push._BUNDLES, push._MARK[0], push._ENTRY]
    kept = answer["bundles"].message_type
    assert kept is not None
    assert kept.full_name == types.Bundle.DESCRIPTOR.full_name

"""What an agent says to the server that pushes to it: a value within bounds, or INVALID_ARGUMENT."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from typing import Any

from finial.core.entry import MAX_ENTRY_ID_CHARACTERS
from finial.core.setdigest import MARK_BYTES
from finial.rpc.status import RpcError, StatusCode
from finial.wire import push
from finial.wire.gen import finial_api_server_push_v1 as pb
from fuzz.target import Target, settled

_MARK = bytes(MARK_BYTES)
_IDS = ("e1", "e1", "e2", "", "x" * MAX_ENTRY_ID_CHARACTERS, "x" * (MAX_ENTRY_ID_CHARACTERS + 1), "\u00e9\n")
_MARKS = (_MARK, _MARK, _MARK, _MARK[:-1], b"")
_STAGES: tuple[Any, ...] = (pb.Progress.SIGNED, pb.Progress.DELIVERED, pb.Progress.FAILED, 0, 99)


def check(data: bytes) -> None:
    try:
        said = push.read_request(data)
    except RpcError as refused:
        settled(refused, StatusCode.INVALID_ARGUMENT)
        return
    except ValueError as refused:
        assert type(refused) is ValueError
        assert str(refused).isprintable()
        return
    match said:
        case push.Hello():
            assert len(said.version) <= 100
            if said.state is not None:
                assert said.state.same_entries(said.state)
                assert 0 < len(said.state.epoch) <= 64
                assert len(said.state.digest) == len(said.state.bundles) == MARK_BYTES
                assert push.state_of(push.state_message(said.state)) == said.state
        case push.Held():
            assert len(said.marks) <= push.MAX_MARKS
            assert all(0 < len(each) <= MAX_ENTRY_ID_CHARACTERS for each, _ in said.marks)
            assert all(len(mark) == MARK_BYTES for _, mark in said.marks)
        case push.Applied():
            assert 0 <= said.number < 2**64
        case push.Report():
            steps = list(said.steps())
            assert len(steps) <= len(said) <= push.MAX_STEPS
            assert len(said.resting) <= push.MAX_AUTHORITIES
            assert all(0 < len(each.entry_id) <= MAX_ENTRY_ID_CHARACTERS for each in steps)
            assert all(len(each.trouble) <= 200 for each in steps)


def corpus() -> list[bytes]:
    state = pb.State(epoch="e", seq=7, count=1, digest=_MARK, bundles=_MARK)
    marks = [pb.Mark(id="e1", mark=_MARK)]
    progress = [pb.Progress(entry_id="e1", revision=1, stage=stage, trouble="t" * 201) for stage in _STAGES]
    resting = [pb.Resting(authority_id="a", svids=3)]
    many = [pb.Resting(authority_id="a", svids=1)] * (push.MAX_AUTHORITIES + 1)
    messages = [
        pb.SubscribeRequest(hello=pb.Hello(version="v", state=state)),
        pb.SubscribeRequest(hello=pb.Hello()),
        pb.SubscribeRequest(held=pb.Held(entries=marks, more=True)),
        pb.SubscribeRequest(applied=pb.Applied(number=2**64 - 1)),
        pb.SubscribeRequest(report=pb.Report(progress=progress, resting=resting)),
        pb.SubscribeRequest(report=pb.Report(resting=many)),
        pb.SubscribeRequest(),
    ]
    return [each.SerializeToString(deterministic=True) for each in messages]


def generate(source: random.Random) -> bytes:
    message = pb.SubscribeRequest()
    match source.randrange(4):
        case 0:
            message.hello.version = source.choice(("", "1.0", "v" * 200))
            if source.random() < 0.8:
                message.hello.state.CopyFrom(_state(source))
        case 1:
            for _ in range(_some(source, push.MAX_MARKS)):
                message.held.entries.add(id=source.choice(_IDS[:3]), mark=_MARK)
            message.held.entries.add(id=source.choice(_IDS), mark=source.choice(_MARKS))
        case 2:
            for _ in range(_some(source, push.MAX_STEPS)):
                message.report.progress.add(entry_id=source.choice(_IDS), stage=source.choice(_STAGES))
            for _ in range(source.choice((0, 1, 2, push.MAX_AUTHORITIES + 1))):
                message.report.resting.add(authority_id=source.choice(("a", "a", "b", "", "x" * 129)))
        case _:
            message.applied.number = source.choice((0, 1, 2**64 - 1))
    return message.SerializeToString(deterministic=True)


def _state(source: random.Random) -> pb.State:
    return pb.State(
        epoch=source.choice(("e", "e", "", "x" * 64, "x" * 65)),
        seq=source.choice((0, 7, 2**64 - 1)),
        digest=source.choice(_MARKS),
        bundles=source.choice(_MARKS),
    )


def _some(source: random.Random, most: int) -> int:
    """A few; now and then one too many."""
    return most + 1 if source.random() < 0.01 else source.choice((0, 1, 2, 5))


_PARSER = ("finial.wire.push",)
_OMITS = ("item", "encoded")
TARGET = Target("pushes", corpus, check, generate, modules=_PARSER, omits=_OMITS)

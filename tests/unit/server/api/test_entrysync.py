"""SyncAuthorizedEntries: small sets whole, large ones by revisions, and only what is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.rpc import RpcError, StatusCode
from finial.rpc.clientcall import ClientCall
from finial.server.api import entrysync
from finial.server.api.authorized import Authorized
from finial.server.api.chain import Caller
from finial.server.index.index import Index
from finial.server.policy import Role
from finial.server.store import entries, nodes
from finial.wire import masks
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.clock import ManualClock, settle
from support.rpc import run
from support.server_api import AGENT, Served, served

_METHOD = entry_pb.Entry.SyncAuthorizedEntries
_Request = entry_pb.SyncAuthorizedEntriesRequest
_Response = entry_pb.SyncAuthorizedEntriesResponse
_Call = ClientCall[_Request, _Response]
_SELECTORS = (Selector("unix", "uid:0"),)


def _test(
    path: Path, count: int, scenario: Callable[[Served, _Call], Awaitable[None]], *, names: int = 0
) -> None:
    """Have a call of an agent with so many entries, each with so many DNS names."""

    async def main() -> None:
        async with served(path / "db") as server:
            wanted = [
                RegistrationEntry(
                    id=f"e{number}",
                    spiffe_id=SpiffeID(f"spiffe://example.org/{number}"),
                    parent_id=AGENT,
                    selectors=_SELECTORS,
                    dns_names=tuple(f"{'d' * 60}.{'d' * 60}.d{each}" for each in range(names)),
                )
                for number in range(count)
            ]
            if wanted:
                await server.world.create(*wanted)
            await server.attest()
            async with server.channel.call(_METHOD) as call:
                await scenario(server, call)

    run(main())


async def _next(call: _Call) -> _Response:
    reply = await call.receive()
    assert reply is not None
    return reply


async def _phase(call: _Call) -> list[_Response]:
    """The messages up to the one that says that no more follow."""
    replies = [await _next(call)]
    while replies[-1].more:
        replies.append(await _next(call))
    return replies


@pytest.mark.parametrize("count", [0, 1, 499, 500])
def test_a_small_set_is_sent_whole(tmp_path: Path, count: int) -> None:
    async def scenario(_: Served, call: _Call) -> None:
        await call.send(_Request(output_mask=masks.agent_mask()))
        reply = await _next(call)
        assert {entry.id for entry in reply.entries} == {f"e{number}" for number in range(count)}
        assert not any(entry.HasField("parent_id") for entry in reply.entries)
        assert not reply.more
        assert not reply.entry_revisions
        assert await call.receive() is None

    _test(tmp_path, count, scenario)


@pytest.mark.parametrize(("count", "pages"), [(501, [500, 1]), (1000, [500, 500]), (1001, [500, 500, 1])])
def test_a_large_set_is_sent_as_revisions_then_as_asked(tmp_path: Path, count: int, pages: list[int]) -> None:
    async def scenario(server: Served, call: _Call) -> None:
        await call.send(_Request())
        replies = await _phase(call)
        assert [len(reply.entry_revisions) for reply in replies] == pages
        assert not any(reply.entries for reply in replies)
        revisions = [revision for reply in replies for revision in reply.entry_revisions]
        assert {each.id for each in revisions} == {f"e{number}" for number in range(count)}
        record = server.world.index.entries.get("e0")
        assert record is not None
        assert all(each.created_at == record.created_at and each.revision_number == 0 for each in revisions)

        await call.send(_Request(ids=[each.id for each in revisions]))
        answers = await _phase(call)
        assert [len(reply.entries) for reply in answers] == pages
        found = [entry for reply in answers for entry in reply.entries]
        assert [entry.id for entry in found] == [each.id for each in revisions]
        assert all(entry.parent_id.path == AGENT.path for entry in found)

        await call.send(_Request(ids=["e1", "nobody", "e1"]))
        (answer,) = await _phase(call)
        assert [entry.id for entry in answer.entries] == ["e1"]
        await call.send(_Request())
        assert await _phase(call) == [_Response()]
        await call.half_close()
        assert await call.receive() is None

    _test(tmp_path, count, scenario)


def test_the_mask_of_the_first_request_holds_throughout(tmp_path: Path) -> None:
    async def scenario(_: Served, call: _Call) -> None:
        await call.send(_Request(output_mask=types.EntryMask(revision_number=True, spiffe_id=True)))
        await _phase(call)
        await call.send(_Request(ids=["e7"]))
        (answer,) = await _phase(call)
        spiffe_id = types.SPIFFEID(trust_domain="example.org", path="/7")
        assert list(answer.entries) == [types.Entry(id="e7", spiffe_id=spiffe_id)]

    _test(tmp_path, 501, scenario)


def test_no_message_is_larger_than_peers_take(tmp_path: Path) -> None:
    async def scenario(_: Served, call: _Call) -> None:
        await call.send(_Request())
        (revisions,) = await _phase(call)
        assert len(revisions.entry_revisions) == 300
        await call.send(_Request(ids=[each.id for each in revisions.entry_revisions]))
        answers = await _phase(call)
        assert sum(len(reply.entries) for reply in answers) == 300
        assert len(answers) > 1
        assert all(reply.ByteSize() <= entrysync.PAGE_BYTES + 64 * 1024 for reply in answers)

    _test(tmp_path, 300, scenario, names=100)


def test_what_is_gone_meanwhile_is_not_sent(tmp_path: Path) -> None:
    async def scenario(server: Served, call: _Call) -> None:
        await call.send(_Request())
        await _phase(call)
        await server.world.store.write(lambda tx: entries.remove(tx, "e0"))
        await call.send(_Request(ids=["e0", "e1"]))
        (answer,) = await _phase(call)
        assert [entry.id for entry in answer.entries] == ["e1"]
        await server.world.store.write(lambda tx: nodes.remove(tx, AGENT.text))
        await call.send(_Request(ids=["e1"]))
        assert await _phase(call) == [_Response()]

    _test(tmp_path, 501, scenario)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (_Request(ids=["e0"]), "specifying IDs on initial request is not supported"),
        (_Request(output_mask=types.EntryMask(hint=True)), "revision number cannot be masked"),
        (_Request(output_mask=types.EntryMask()), "revision number cannot be masked"),
        (None, "missing request"),
    ],
)
def test_who_does_not_keep_to_the_protocol(tmp_path: Path, request_: _Request | None, text: str) -> None:
    async def scenario(_: Served, call: _Call) -> None:
        if request_ is not None:
            await call.send(request_)
        await call.half_close()
        with pytest.raises(RpcError) as caught:
            await call.receive()
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert caught.value.message == text

    _test(tmp_path, 1, scenario)


def test_no_request_asks_for_more_than_a_server_has_to_look_up(tmp_path: Path) -> None:
    async def scenario(_: Served, call: _Call) -> None:
        await call.send(_Request())
        await _phase(call)
        await call.send(_Request(ids=["e1"] * entrysync.MOST_ASKED))
        (answer,) = await _phase(call)
        assert [entry.id for entry in answer.entries] == ["e1"]
        await call.send(_Request(ids=["e1"] * (entrysync.MOST_ASKED + 1)))
        with pytest.raises(RpcError, match="5001 ids in one request, at most 5000") as caught:
            await call.receive()
        assert caught.value.code is StatusCode.INVALID_ARGUMENT

    _test(tmp_path, 501, scenario)


def test_an_agent_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async def scenario(server: Served, call: _Call) -> None:
        await call.send(_Request())
        await _phase(call)
        answer = asyncio.ensure_future(call.receive())
        await settle()
        await server.world.clock.advance(entrysync.PATIENCE)
        with pytest.raises(RpcError) as caught:
            await answer
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED

    _test(tmp_path, 501, scenario)


def test_an_agent_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        read = [_Request()]

        class Deaf:
            async def receive(self) -> _Request | None:
                return read.pop()

            async def send_encoded(self, data: bytes) -> None:
                await asyncio.Event().wait()

        caller = Caller(Role.AGENT, "192.0.2.1", AGENT)
        authorized = Authorized(caller, Index(AGENT.trust_domain), clock)
        serving = asyncio.ensure_future(entrysync.serve(Deaf(), authorized, clock))  # type: ignore[arg-type]  # a fake
        await settle()
        await clock.advance(entrysync.PATIENCE)
        with pytest.raises(RpcError) as caught:
            await serving
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED

    run(main())


def test_an_agent_that_cancels_is_not_worth_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: Served, call: _Call) -> None:
        await call.send(_Request())
        await _phase(call)
        call.cancel()
        others = await server.call(
            entry_pb.Entry.GetAuthorizedEntries, entry_pb.GetAuthorizedEntriesRequest()
        )
        assert len(others.entries) == 501

    with caplog.at_level(logging.INFO):
        _test(tmp_path, 501, scenario)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

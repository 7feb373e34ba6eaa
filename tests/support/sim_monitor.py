"""Listens to all streams of a simulation, and holds both sides to the protocol, word by word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finial.wire.gen import finial_api_server_push_v1 as push_pb
from support.sim_clock import SimClock
from support.sim_server import SimServer
from support.sim_truth import Allowed, History, Moment

_PATH = push_pb.Push.Subscribe.path
_LOOKS_SECONDS = 3.0
"""How late an index may notice that its clock was set, or that an entry has ended."""


@dataclass
class Talk:
    """One stream, as it has gone so far."""

    agent_id: str
    row: int  # of its node, as it was when the stream began
    hello: push_pb.Hello | None = None
    number: int = 0
    out: int = 0  # the change that is not acknowledged
    within: bool = False  # pages of a change have gone, and more are to follow
    asked: bool = False  # to say what it holds
    answered: bool = False
    state: push_pb.State | None = None  # that the last change has told of


@dataclass(frozen=True)
class Told:
    """What a server has told somebody about a state."""

    timeline: int
    walls: tuple[tuple[float, float], ...]


class Monitor:
    """Sees what goes over the lines.

    Args:
        clock: The simulation's.
        history: What has been so.
    """

    def __init__(self, clock: SimClock, history: History) -> None:
        self._clock = clock
        self._history = history
        self._talks: dict[Any, Talk] = {}
        self.told: dict[tuple[str, str, int], list[Told]] = {}
        """By agent, epoch and position."""
        self.counts: dict[str, int] = {}
        self.faults: list[str] = []

    def count(self, what: str) -> None:
        """For figures."""
        self.counts[what] = self.counts.get(what, 0) + 1

    # At servers.

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keep what is wrong for the test; those who talk go on."""
        try:
            yield
        except AssertionError as error:
            self.faults.append(str(error))

    def server_hears(self, call: Any, data: bytes) -> None:
        if call.method.path == _PATH:
            with self._noting():
                self._server_hears(call, data)

    def server_sends(self, call: Any, data: bytes) -> None:
        if call.method.path == _PATH:
            with self._noting():
                self._server_sends(call, data)

    def _server_hears(self, call: Any, data: bytes) -> None:
        said = push_pb.SubscribeRequest.FromString(data)
        talk = self._talks.get(call)
        if talk is None:
            agent_id = call.peer.identity.id.text
            node = call.connection.host.index.nodes.get(agent_id)
            talk = self._talks[call] = Talk(agent_id, -1 if node is None else node.seq)
        match said.WhichOneof("step"):
            case "hello":
                assert talk.hello is None, "an agent says hello twice"
                talk.hello = said.hello
                self.count("hello")
            case "held":
                assert talk.asked, "an agent says uncalled for what it holds"
                talk.asked = said.held.more
            case "applied":
                assert said.applied.number == talk.out, f"{said.applied.number} is not out, but {talk.out}"
                talk.out = 0

    def _server_sends(self, call: Any, data: bytes) -> None:
        talk, server = self._talks[call], call.connection.host
        message = push_pb.SubscribeResponse.FromString(data)
        assert talk.hello is not None
        assert not talk.out, "a server says more before what it has said is acknowledged"
        assert not talk.asked, "a server goes on before it has been told what it asked for"
        assert message.silence_ms > 0
        self._check_admitted(server, call, talk)
        moment = self._history.at(server.timeline, server.index.position)
        if not talk.answered:
            self._check_opening(talk, message, server)
        talk.answered = True
        assert not (message.reset and talk.within), "a reset in the midst of a change"
        if message.compare:
            self.count("compare")
            talk.asked = True
            return
        self.count("whole" if message.reset else "page")
        talk.within = message.more
        if message.more:
            assert not message.number
            return
        if message.number:
            talk.number += 1
            assert message.number == talk.number
            talk.out = message.number
        else:
            self.count("heartbeat")
            self._check_heartbeat(talk, message)
        talk.state = message.state
        self._check_state(talk, message, server, moment)

    def _check_admitted(self, server: SimServer, call: Any, talk: Talk) -> None:
        """Nothing is said to whoever may not be told anything."""
        agent = call.peer.identity
        node = server.index.nodes.get(agent.id.text)
        assert node is not None, f"{agent.id} is told something after it was evicted"
        assert not node.banned, f"{agent.id} is told something after it was banned"
        assert node.seq == talk.row, f"{agent.id} is told something though another has come in its place"
        assert self._clock.now() < agent.leaf.not_after, f"{agent.id} is told something after its SVID's end"

    def _check_opening(self, talk: Talk, message: push_pb.SubscribeResponse, server: SimServer) -> None:
        """What both say alike is not sent."""
        moment = self._history.at(server.timeline, server.index.position)
        assert talk.hello is not None
        if not talk.hello.HasField("state"):
            assert message.reset, "an agent that holds nothing is not told everything"
            return
        held = talk.hello.state
        alike = [
            (held.count, held.digest, held.bundles)
            == (each.digest.count, each.digest.digest, each.bundle_digest.digest)
            for each in moment.any_allowed(talk.agent_id, self._walls(server))
        ]
        if all(alike):
            self.count("resumed")
            sent = (message.entries, message.gone, message.bundles, message.bundles_gone)
            assert not any(sent), "what both hold alike is sent"
            assert not message.compare, "what both hold alike is compared"
            assert not message.reset, "what both hold alike is sent anew"

    def _check_heartbeat(self, talk: Talk, message: push_pb.SubscribeResponse) -> None:
        """What bears no number changes nothing, and is not the first that is said."""
        assert talk.state is not None, "a stream begins with what nobody has to acknowledge"
        sent = (message.reset, message.entries, message.gone, message.bundles, message.bundles_gone)
        assert not any(sent), "a change bears no number"
        before, now = talk.state, message.state
        assert (before.epoch, before.count, before.digest, before.bundles) == (
            now.epoch, now.count, now.digest, now.bundles
        ), "what holds changes without a number"  # fmt: skip

    def _check_state(
        self, talk: Talk, message: push_pb.SubscribeResponse, server: SimServer, moment: Moment
    ) -> None:
        """The state is exactly what is so at this moment."""
        state = message.state
        assert state.seq == server.index.position, "the state is not the newest"
        assert state.epoch == server.index.epoch
        assert talk.hello is not None
        held = talk.hello.state
        behind = held.epoch == state.epoch and state.seq < held.seq
        assert not behind, f"an agent that has seen {held.seq} is told what was so at {state.seq}"
        walls = self._walls(server)
        agent_id = talk.agent_id
        right = [_sums(each) for each in moment.any_allowed(agent_id, walls)]
        found = (state.count, state.digest, state.bundles)
        assert found in right, f"the sums that {agent_id} is told at {state.seq} are not those of the truth"
        told = self.told.setdefault((agent_id, state.epoch, state.seq), [])
        told.append(Told(server.timeline, walls))

    def _walls(self, server: SimServer) -> tuple[tuple[float, float], ...]:
        """What a server may take for the time: it looks when an entry is to end, and now and then."""
        now = self._clock.monotonic()
        return tuple(self._clock.walls(min(now - _LOOKS_SECONDS, server.index.looked_at)))

    # At agents.

    def agent_sends(self, call: Any, data: bytes) -> None:
        """Nothing to hold it to that the server does not."""

    def agent_hears(self, call: Any, data: bytes) -> None:
        """As `agent_sends`."""


def _sums(allowed: Allowed) -> tuple[int, bytes, bytes]:
    return allowed.digest.count, allowed.digest.digest, allowed.bundle_digest.digest

"""A network of calls: bytes that arrive late and in order, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from finial.rpc import Route, RpcError, StatusCode
from finial.rpc.peer import Peer
from support.dice import Dice
from support.sim_clock import SimClock

DIAL_PATIENCE = 10.0
NOTICED_AFTER = 60.0
"""Seconds until the kernel finds out that the other end has vanished without a word."""
WINDOW = 1_000
"""Bytes that may be under way and unread on one call before its sender has to wait."""


class Ending(Protocol):
    """One end of a call, or of a connection, which is told when the line is gone."""

    def lost(self) -> None:
        """Nothing comes any more."""


class Watching(Protocol):
    """Sees what goes over the line, at both ends."""

    def server_sends(self, call: object, data: bytes) -> None: ...
    def server_hears(self, call: object, data: bytes) -> None: ...
    def agent_sends(self, call: object, data: bytes) -> None: ...
    def agent_hears(self, call: object, data: bytes) -> None: ...


@dataclass(eq=False)
class Line:
    """What lies between one agent and all servers.

    Args:
        name: Of the agent.
        to: Which server it gets to.
    """

    name: str
    to: int = 0
    stalled: bool = False
    closed: bool = False  # new connections get no answer
    connections: list[Connection] = field(default_factory=list)

    def stall(self, *, on: bool) -> None:
        """Hold back everything, or let it go on."""
        self.stalled = on
        if not on:
            for connection in list(self.connections):
                connection.up.pump()
                connection.down.pump()


class Host(Protocol):
    """A server's end of the network."""

    number: int

    @property
    def up(self) -> bool:
        """Whether anybody listens."""

    def route(self, path: str) -> Route | None:
        """What serves a method."""

    def broke(self, error: BaseException, path: str) -> None:
        """A handler ended by what nobody expects."""


class Net:
    """All lines.

    Args:
        clock: Delays everything.
        dice: Draws how long.
        watching: Sees everything.
    """

    def __init__(self, clock: SimClock, dice: Dice, watching: Watching) -> None:
        self.clock = clock
        self.watching = watching
        self.hosts: dict[int, Host] = {}
        self.slowest = 0.1  # seconds
        self.window = WINDOW
        self._dice = dice
        self._count = 0

    def delay(self) -> float:
        """How long something takes."""
        return 0.001 + self._dice.fraction() * self.slowest

    def number(self) -> int:
        """For names in what is printed."""
        self._count += 1
        return self._count

    async def dial(self, line: Line, peer: Peer) -> Connection:
        """Connect to whichever server the line leads to.

        Raises:
            RpcError: UNAVAILABLE, nobody answers.
        """
        begun = self.clock.monotonic()
        await self.clock.sleep(timedelta(seconds=self.delay()))
        while line.stalled or line.closed:
            if self.clock.monotonic() - begun >= DIAL_PATIENCE:
                raise RpcError(StatusCode.UNAVAILABLE, "no answer in time", unprocessed=True)
            await self.clock.sleep(timedelta(seconds=0.5))
        host = self.hosts.get(line.to)
        if host is None or not host.up:
            raise RpcError(StatusCode.UNAVAILABLE, "nobody listens", unprocessed=True)
        connection = Connection(self, line, host, peer)
        line.connections.append(connection)
        return connection


class Lane:
    """One direction of a connection: what is put in comes out later, in order."""

    def __init__(self, net: Net, line: Line) -> None:
        self._net = net
        self._line = line
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._last = 0.0
        self.cut = False

    def post(self, deliver: Callable[[], None]) -> None:
        """Have something done at the other end."""
        if self.cut:
            return
        now = self._net.clock.monotonic()
        self._last = max(self._last, now + self._net.delay())
        self._waiting.append((self._last, deliver))
        self._net.clock.later(self._last - now, self.pump)

    def pump(self) -> None:
        """Let out what has been under way for long enough."""
        now = self._net.clock.monotonic() + 1e-9
        while self._waiting and not self._line.stalled and self._waiting[0][0] <= now:
            self._waiting.popleft()[1]()

    def sever(self) -> None:
        """Lose what is under way, and all that follows."""
        self.cut = True
        self._waiting.clear()


class Connection:
    """A connection of an agent to a server.

    Args:
        net: Its network.
        line: The agent's.
        host: The server that it leads to.
        peer: The agent, as the server sees it.
    """

    def __init__(self, net: Net, line: Line, host: Host, peer: Peer) -> None:
        self.net = net
        self.line = line
        self.host = host
        self.peer = peer
        self.up = Lane(net, line)
        self.down = Lane(net, line)
        self.client_gone = False  # the agent knows that it is of no use any more
        self.server_gone = False
        self.draining = False
        self.at_client: list[Ending] = []
        self.at_server: list[Ending] = []
        self.on_drain: list[Callable[[], None]] = []

    def cut(self, *, tell_client: bool, tell_server: bool) -> None:
        """Lose everything that is under way. An end that is not told finds out later."""
        self.up.sever()
        self.down.sever()
        clock = self.net.clock
        clock.later(self.net.delay() if tell_client else NOTICED_AFTER, self.lost_at_client)
        clock.later(self.net.delay() if tell_server else NOTICED_AFTER, self.lost_at_server)

    def server_died(self) -> None:
        """The server's process is gone; what it had sent still arrives."""
        self.lost_at_server()
        self.up.sever()
        self.down.post(self.lost_at_client)

    def client_left(self) -> None:
        """The agent closes it, or its process is gone."""
        self.lost_at_client()
        self.down.sever()
        self.up.post(self.lost_at_server)

    def drain(self) -> None:
        """The server wants no more calls here."""
        if not self.server_gone:
            self.down.post(self._drained)

    def _drained(self) -> None:
        self.draining = True
        for told in list(self.on_drain):
            told()
        self.call_ended()

    def call_ended(self) -> None:
        """A call has ended: a connection that is of no more use is closed behind the last one."""
        if self.draining and not self.at_client and not self.client_gone:
            self.client_left()

    def lost_at_client(self) -> None:
        """The agent learns that the connection is gone."""
        if not self.client_gone:
            self.client_gone = True
            self._drained()
            for end in list(self.at_client):
                end.lost()
        self._over()

    def lost_at_server(self) -> None:
        """The server learns that the connection is gone."""
        if not self.server_gone:
            self.server_gone = True
            for end in list(self.at_server):
                end.lost()
        self._over()

    def _over(self) -> None:
        if self.client_gone and self.server_gone and self in self.line.connections:
            self.line.connections.remove(self)

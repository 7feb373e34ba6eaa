"""The agent's connection to its server: the channel in use, its trust, a change of identity without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

from finial.agent.identity import NodeIdentity
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import TrustDomain, server_id
from finial.core.match import ExactID
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_x509
from finial.rpc import Channel, ClientTLS, Tcp
from finial.runtime.clock import Clock
from finial.runtime.tls import client_context

_NOT_SERVER = Reason(
    "agent-server-unverified",
    Kind.UNTRUSTED,
    hint="Check --server, and that the bundle is that of its trust domain: finial server bundle show.",
)


class LinkError(FinialError):
    """The server is not the one that it has to be."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a channel, which stays open until the last lease of it has ended.

    Args:
        channel: To the server.
        identity: Whom the channel shows; None for nobody.
        over: Set when another channel is in use, to which what lasts has to move.
    """

    channel: Channel
    identity: NodeIdentity | None
    over: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class Link:
    """Channels to one server, known by the bundle of its trust domain.

    Args:
        target: Where it is.
        bundle: What it is known by.
        clock: Judges its certificates.
    """

    def __init__(self, target: Tcp, bundle: Bundle, clock: Clock) -> None:
        self.target = target
        self.bundle = bundle
        self.refusal: FinialError | None = None
        """Why the server was last not the right one; None since it was."""
        self.reached = asyncio.Event()
        """Set when the server has answered a call well; cleared by whoever waits for the next one."""
        self._clock = clock
        self._lease = self._open(None)
        self._leases: dict[Channel, int] = {self._lease.channel: 0}
        self._closing: set[asyncio.Task[None]] = set()

    def take(self) -> Lease:
        """The channel in use now, kept open until it is given back."""
        self._leases[self._lease.channel] += 1
        return self._lease

    def give_back(self, lease: Lease) -> None:
        """Use a channel no longer."""
        self._leases[lease.channel] -= 1
        self._retire(lease.channel)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Lease]:
        """The channel in use now, for a call that the block makes; kept open until the block ends."""
        lease = self.take()
        try:
            yield lease
            self.reached.set()
        finally:
            self.give_back(lease)

    @asynccontextmanager
    async def anonymous(self) -> AsyncIterator[Channel]:
        """A channel that shows nothing, for attestation; closed when the block ends."""
        channel = self._open(None).channel
        try:
            yield channel
            self.reached.set()
        finally:
            await channel.close()

    def show(self, identity: NodeIdentity | None) -> None:
        """From the next call on, connect anew and show this identity; calls in flight go on as they are."""
        old = self._lease
        self._lease = self._open(identity)
        self._leases[self._lease.channel] = 0
        old.over.set()
        self._retire(old.channel)

    def trust(self, bundle: Bundle) -> None:
        """Know the server by this bundle from the next connection on; at once if it trusts less."""
        less = not set(self.bundle.x509_authorities) <= set(bundle.x509_authorities)
        self.bundle = bundle
        if less:
            self.show(self._lease.identity)

    async def close(self) -> None:
        """End everything."""
        for task in list(self._closing):
            await task
        for channel in list(self._leases):
            await channel.close()

    def _retire(self, channel: Channel) -> None:
        if channel is self._lease.channel or self._leases.get(channel) != 0:
            return
        del self._leases[channel]
        task = asyncio.get_running_loop().create_task(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _open(self, identity: NodeIdentity | None) -> Lease:
        def context() -> SSLContext:
            roots = [authority.der for authority in self.bundle.x509_authorities]
            return client_context(roots, None if identity is None else identity.key_pair())

        return Lease(Channel(self.target, tls=ClientTLS(context, self._verify)), identity)

    def _verify(self, chain: tuple[bytes, ...]) -> object:
        try:
            found = verify_x509(
                chain,
                BundleSet([self.bundle]),
                now=self._clock.now(),
                accept=ExactID(server_id(self.bundle.trust_domain)),
            )
        except FinialError as error:
            self.refusal = LinkError(
                _NOT_SERVER, f"{self.target} is not the server of {self.bundle.trust_domain}: {error.message}"
            )
            raise
        self.refusal = None
        return found


class FirstContact:
    """A contact without trust: believes whoever says that it is the server. Asked for by name only.

    Args:
        target: Where the server is.
        trust_domain: Whose server it has to say it is.
    """

    def __init__(self, target: Tcp, trust_domain: TrustDomain) -> None:
        self.refusal: FinialError | None = None
        """Why the server was last not the right one; None since it was."""
        self._target = target
        self._expected = server_id(trust_domain)

    def channel(self) -> Channel:
        """A channel that shows nothing."""
        tls = ClientTLS(lambda: client_context([], insecure=True), self._verify)
        return Channel(self._target, tls=tls)

    def _verify(self, chain: tuple[bytes, ...]) -> object:
        try:
            spiffe_id = Certificate.parse(chain[0], "leaf").spiffe_id if chain else None
            if spiffe_id is None:
                raise LinkError(_NOT_SERVER, "its certificate names no SPIFFE ID")
            ExactID(self._expected).check(spiffe_id)
        except FinialError as error:
            self.refusal = LinkError(_NOT_SERVER, f"{self._target} is not {self._expected}: {error.message}")
            raise
        return spiffe_id

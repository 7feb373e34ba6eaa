"""The agent's standing with its server: how it gets an identity, keeps it, and loses it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from finial.agent.attest_node import JOIN_TOKEN, TRANSIENT, AttestationError, Proof, attest
from finial.agent.disk import Disk
from finial.agent.fetch import CALL_DEADLINE, fetch_bundle
from finial.agent.identity import Key, NodeIdentity, make_csr, new_key
from finial.agent.link import Link
from finial.agent.standing import Standing, expelled, standing_of
from finial.agent.translate import read_svid
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind, Reason, X509VerifyError
from finial.core.ids import SpiffeID
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_certificates
from finial.rpc import Channel, RpcError
from finial.runtime import files
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.log import fields
from finial.runtime.retry import Backoff
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb

_log = logging.getLogger("finial.agent")

PATIENCE = timedelta(seconds=30)
"""How long an agent without an identity tries to reach its server before it gives up."""
LONGEST_NAP = timedelta(seconds=5)
_FIRST_RETRY = timedelta(milliseconds=500)
_LAST_RETRY = timedelta(seconds=10)
_SHORTEST_RETRY = timedelta(milliseconds=100)
_TRIES_LEFT = 4
# A server that still signs with a tainted authority would otherwise be asked at every sync.
_TAINT_PAUSE = timedelta(minutes=1)

_NO_IDENTITY = Reason(
    "agent-identity-expired",
    Kind.DENIED,
    hint="Make a token with finial server token generate, and start the agent with it.",
)
_UNREACHABLE = Reason(
    "agent-server-unreachable",
    Kind.UNAVAILABLE,
    hint="Check --server, and that finial server run serves there.",
)
_UNUSABLE = Reason("agent-identity-unverified", Kind.UNTRUSTED, hint="Check the server's authorities.")

_Result = TypeVar("_Result")


class NodeError(FinialError):
    """The agent has no identity that it could use."""


class Node:
    """Owns the agent's identity and its place on the disk.

    Args:
        disk: Keeps the identity and the bundle.
        link: To the server; is told whom to show.
        proof: How the node attests.
        clock: Time.
        chance: Spreads renewals and retries.
        serving_until: When the last SVID of a workload ends; None when there is none.
        drop: Takes every identity from every workload, at once; called when the agent has lost its own.
    """

    def __init__(
        self,
        disk: Disk,
        link: Link,
        proof: Proof,
        *,
        clock: Clock,
        chance: Chance,
        serving_until: Callable[[], datetime | None],
        drop: Callable[[], None],
    ) -> None:
        self.link = link
        self._disk = disk
        self._proof = proof
        self._clock = clock
        self._chance = chance
        self._serving_until = serving_until
        self._drop = drop
        self._identity: NodeIdentity | None = None
        self._renew_at = clock.now()
        self._authority: Certificate | None = None
        self._unkept: NodeIdentity | None = None  # renewed, and not known to be on the disk yet
        self._changing = asyncio.Lock()  # held while the identity is being replaced
        self._hurry = asyncio.Event()  # the identity rests on a tainted authority
        self._hurried: tuple[Certificate | None, float] | None = None  # from which authority, and when
        self._kept: Bundle | None = None  # the bundle that this run has put on the disk

    @property
    def identity(self) -> NodeIdentity:
        """Who the agent is; there is one from `join` on."""
        assert self._identity is not None
        return self._identity

    @property
    def authority(self) -> Certificate | None:
        """The authority of the own bundle that the agent's SVID rests on; None when there is none."""
        return self._authority

    async def join(self, stored: NodeIdentity | None) -> None:
        """Take up the identity of an earlier run, or attest the node.

        Args:
            stored: What the disk holds.

        Raises:
            FinialError: There is no way to an identity; says what to do.
        """
        if stored is not None and not stored.expired(self._clock.now()):
            self._adopt(stored, fresh=False)
            _log.info("identity taken up", extra=fields(id=stored.id, expires_at=stored.svid.expires_at))
            return
        if stored is not None and not self._can_attest(stored):
            message = (
                f"the stored SVID of {stored.id} expired at {stored.svid.expires_at:%Y-%m-%d %H:%M:%S} UTC"
            )
            raise NodeError(_NO_IDENTITY, message, subject=stored.id.text)
        await self._attest(patience=PATIENCE)

    async def cope(self, error: FinialError, shown: NodeIdentity | None) -> bool:
        """React to what a call ended with; whether the agent has another identity now and may go on at once.

        Args:
            error: Of the call.
            shown: The identity that the call was made with.

        Raises:
            ExpelledError: The server does not count the agent as attested any more; nothing is stored now.
        """
        standing = standing_of(error) if isinstance(error, RpcError) else None
        if standing is None:
            return False
        async with self._changing:
            if shown is not self._identity:
                return True
            return await self._again(standing)

    def trust(self, bundle: Bundle) -> None:
        """Take the own bundle: for the server, for the next start, and for the agent's own SVID."""
        if bundle != self.link.bundle:
            self.link.trust(bundle)
            self._authority = self._proven(self.identity, bundle)
        self._keep_bundle(bundle)
        if self._authority is None or self._authority in bundle.tainted:
            last, now = self._hurried, self._clock.monotonic()
            pause = _TAINT_PAUSE.total_seconds()
            if last is None or last[0] != self._authority or now - last[1] >= pause:
                self._hurried = self._authority, now
                self._hurry.set()

    async def keep(self) -> None:
        """Renew the identity in time, again and again.

        Raises:
            FinialError: The server does not count the agent as attested any more, or the SVID has ended.
        """
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=self._chance, least=_SHORTEST_RETRY)
        while True:
            now, shown = self._clock.now(), self.identity
            if shown.expired(now) and not self._can_attest(shown):
                await self._end(shown)
            if now < self._renew_at and not self._hurry.is_set():
                await wait_at_most(self._clock, self._hurry, min(self._renew_at - now, LONGEST_NAP))
                continue
            self._hurry.clear()
            try:
                async with self._changing:
                    if self.identity is shown:
                        await self._renew(shown)
                backoff.reset()
            except FinialError as error:
                final = isinstance(error, AttestationError) and error.reason.kind is not Kind.UNAVAILABLE
                if final and shown.expired(now):
                    await self._end(shown, error.message)
                if await self.cope(error, shown):
                    continue
                pause = _in_time(backoff.next(), shown.svid.expires_at - now)
                _log.warning("renewal failed", extra=fields(error=error, retry_seconds=pause.total_seconds()))
                await self._clock.sleep(pause)

    async def _renew(self, old: NodeIdentity) -> None:
        if old.reattestable or old.expired(self._clock.now()):
            await self._attest()
            return
        # Asked for once, however often the disk refuses it: the server counts on the last one that it gave,
        # and a write that failed may have reached the disk all the same.
        fresh = self._unkept or await self._ask(old.id)
        self._unkept = fresh
        self._disk.store_identity(fresh)
        self._adopt(fresh)
        _log.info("identity renewed", extra=fields(id=fresh.id, expires_at=fresh.svid.expires_at))

    async def _ask(self, agent_id: SpiffeID) -> NodeIdentity:
        key = new_key()
        params = agent_pb.AgentX509SVIDParams(csr=make_csr(key))
        request = agent_pb.RenewAgentRequest(params=params)
        async with self.link.use() as lease:
            reply = await lease.channel.unary(agent_pb.Agent.RenewAgent, request, timeout=CALL_DEADLINE)
            fresh = NodeIdentity(read_svid(reply.svid, key), reattestable=False)
            if fresh.id != agent_id:
                message = f"the server renewed {agent_id} with an SVID of {fresh.id}"
                raise NodeError(_UNUSABLE, message, subject=agent_id.text)
            await self._prove(fresh, lease.channel)
        return fresh

    async def _again(self, standing: Standing) -> bool:
        """Attest again because the server says so, or leave nothing behind; whether it has attested."""
        agent_id = self.identity.id
        _log.warning("the server refuses this agent", extra=fields(id=agent_id, why=standing.value))
        why = ""
        if standing is not Standing.BANNED and self._can_attest(self.identity):
            try:
                await self._attest(patience=PATIENCE)
                return True
            except FinialError as error:
                why = error.message
        if standing is Standing.EXPIRED and not self.identity.expired(self._clock.now()):
            return False  # one clock is wrong, which must not throw away what nothing brings back
        self._drop()
        try:
            self._disk.forget_identity()
        except files.FileError as error:  # it is worth nothing, wherever it stays
            _log.warning("the identity cannot be deleted", extra=fields(error=error))
        raise expelled(agent_id, standing, why)

    async def _end(self, shown: NodeIdentity, why: str = "") -> None:
        """The SVID has ended and there is no other: serve what is still valid, then give up.

        Returns when there is another one, or when it was only the machine's clock that was wrong.
        """
        _log.error("the agent's SVID has expired and cannot be renewed", extra=fields(id=shown.id))
        while self._identity is shown and shown.expired(now := self._clock.now()):
            end = self._serving_until()
            if end is None or end <= now:
                self._drop()
                raise expelled(shown.id, Standing.EXPIRED, why)
            await self._clock.sleep(LONGEST_NAP)

    def _can_attest(self, identity: NodeIdentity) -> bool:
        return self._proof.repeatable or identity.reattestable

    async def _attest(self, patience: timedelta = timedelta(0)) -> None:
        """Attest the node, trying as long as patience lasts."""
        key = self._attest_key()

        async def once() -> NodeIdentity:
            async with self.link.anonymous() as channel:
                fresh = await attest(channel, self._proof, key)
                self._keep_identity(fresh)  # at once: the token is used up
                try:
                    await self._prove(fresh, channel)
                except NodeError:
                    self._disk.forget_identity()
                    raise
                except FinialError as error:  # to be had later
                    _log.warning("the bundle cannot be had yet", extra=fields(error=error))
                return fresh

        fresh = await persist(once, self.link, clock=self._clock, chance=self._chance, patience=patience)
        self._keep_bundle(self.link.bundle)
        self._adopt(fresh)
        _log.info("node attested", extra=fields(id=fresh.id, expires_at=fresh.svid.expires_at))

    async def _prove(self, fresh: NodeIdentity, channel: Channel) -> None:
        """Make sure that the own bundle proves an identity; the server may have a newer one."""
        if self._proven(fresh, self.link.bundle) is not None:
            return
        bundle = await fetch_bundle(channel, self.link.bundle.trust_domain)
        if self._proven(fresh, bundle) is None:
            message = f"the server gave {fresh.id} an SVID that its bundle does not prove"
            raise NodeError(_UNUSABLE, message, subject=fresh.id.text)
        self.link.trust(bundle)

    def _attest_key(self) -> Key:
        """The key to attest with: on the disk, unless the node can attest again with any other."""
        try:
            return self._disk.attest_key()
        except files.FileError:
            if self._proof.type == JOIN_TOKEN:
                raise
            return new_key()

    def _keep_identity(self, fresh: NodeIdentity) -> None:
        """Put what the node has attested for on the disk; one that can attest again does without."""
        try:
            self._disk.store_identity(fresh)
        except files.FileError as error:
            if not fresh.reattestable:
                raise
            _log.warning("the identity cannot be kept for the next start", extra=fields(error=error))

    def _keep_bundle(self, bundle: Bundle) -> None:
        if bundle == self._kept:
            return
        try:
            self._disk.store_bundle(bundle)
        except FinialError as error:
            _log.warning("the bundle cannot be kept for the next start", extra=fields(error=error))
        else:
            self._kept = bundle

    def _adopt(self, identity: NodeIdentity, *, fresh: bool = True) -> None:
        now = self._clock.now()
        self._identity = identity
        self._unkept = None
        self._authority = self._proven(identity, self.link.bundle)
        self._renew_at = identity.renew_at(self._chance.fraction())
        if fresh:
            # The lifetime counts from before it was signed; a very short one would be over half at once. Not
            # so for one of an earlier run: with each restart half of what is left would be waited for.
            half_left = now + (identity.svid.expires_at - now) / 2
            self._renew_at = max(self._renew_at, half_left)
        self.link.show(identity)

    def _proven(self, identity: NodeIdentity, bundle: Bundle) -> Certificate | None:
        """The authority that proves an identity; None when none does."""
        try:
            proof = verify_certificates(
                identity.svid.certificates, BundleSet([bundle]), now=self._clock.now()
            )
        except X509VerifyError:
            return None
        return proof.authority


def _in_time(pause: timedelta, left: timedelta) -> timedelta:
    """A pause that leaves time for further tries before an SVID ends."""
    return min(pause, max(left / _TRIES_LEFT, _SHORTEST_RETRY)) if left > timedelta(0) else pause


class Contact(Protocol):
    """Whoever connects, and knows whether it was the right server that answered."""

    refusal: FinialError | None


async def persist(
    call: Callable[[], Awaitable[_Result]],
    contact: Contact,
    *,
    clock: Clock,
    chance: Chance,
    patience: timedelta,
) -> _Result:
    """Try a call until it works, fails for good, or patience is over.

    Args:
        call: What to try.
        contact: Knows whether the server was the right one.
        clock: Time.
        chance: Spreads the tries.
        patience: How long to try.

    Raises:
        FinialError: Of the last try; the refusal, at once, when the server is not the right one.
    """
    backoff = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=chance, least=_SHORTEST_RETRY)
    deadline = clock.monotonic() + patience.total_seconds()
    while True:
        contact.refusal = None
        try:
            return await call()
        except RpcError as error:
            if contact.refusal is not None:
                raise contact.refusal from error
            if error.code not in TRANSIENT or not patience:
                raise
            if clock.monotonic() >= deadline:
                seconds = patience.total_seconds()
                message = f"no answer from the server within {seconds:g} s: {error.message}"
                raise NodeError(_UNREACHABLE, message) from error
            pause = backoff.next()
            _log.warning("the server did not answer", extra=fields(error=error))
            await clock.sleep(pause)

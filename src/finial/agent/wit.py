"""Has WIT-SVIDs signed for workloads that look at them: makes keys, and sends them in batches. Incubating.

Nothing that the server sends is believed before it is proven as anybody else would have to: with the own
bundle, and with a proof of possession that is made here with the key (WIT-37).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from finial.agent.cache import LONGEST_NAP, Cache
from finial.agent.calm import Calm, passing
from finial.agent.entry import AuthorizedEntry
from finial.agent.fetch import CALL_DEADLINE, ProtocolError
from finial.agent.identity import Key, NodeIdentity, new_key
from finial.agent.node import Node
from finial.agent.wit_book import ProvenWIT
from finial.core import jwk
from finial.core.algorithms import algorithm_of
from finial.core.bundle import BundleSet
from finial.core.errors import FinialError, Kind, Reason, TokenVerifyError
from finial.core.keys import public_key_der
from finial.core.reasons import token as reasons
from finial.core.witsvid import WITSVID, VerifiedWIT, validate_wit
from finial.core.wpt import ProofScope, make_proof
from finial.rpc import Channel, RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.log import fields
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import workload
from finial.wire.statuses import error_of

_log = logging.getLogger("finial.agent")

BATCH: Final = 32
"""Keys and tokens in one call: 15 ms of work."""
_SLICE: Final = 8  # of those between two turns of the event loop
_TURN: Final = timedelta(0)
_ENDED: Final = 500  # tokens that are dropped at once
_BUNDLE_PATIENCE: Final = timedelta(seconds=10)
_BETWEEN_QUESTIONS: Final = timedelta(seconds=2)
_HERE: Final = ProofScope("https://agent.invalid/")

_COUNT: Final = Reason("agent-wit-count", Kind.UNAVAILABLE)
_FOREIGN: Final = Reason("agent-wit-foreign", Kind.UNTRUSTED)
_KEY_TO_COME: Final = frozenset({reasons.TOKEN_UNKNOWN_KEY, reasons.TOKEN_NO_KEYS})


class WITAnswerError(FinialError):
    """The server signed another token than the one that it was asked for."""


class Asked(Protocol):
    """Whoever brings bundles."""

    def soon(self) -> None:
        """A token needs a bundle that is not here yet, or an entry may be gone."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One token that the server was asked for.

    Args:
        entry: Whose, as it was then.
        key: Its key.
        until: How long a bundle that proves it is waited for, on the monotonic scale.
    """

    entry: AuthorizedEntry
    key: Key
    until: float


class WITSigner:
    """Signs as long as the agent runs.

    Args:
        node: The agent's standing and its connection.
        cache: Knows what is due, and takes what was signed.
        sync: Is asked for the bundle when a token does not verify under the one that is here.
        calm: After failures.
        clock: Time.
        chance: Spreads renewals and retries, and names proofs.
    """

    def __init__(
        self, node: Node, cache: Cache, sync: Asked, calm: Calm, *, clock: Clock, chance: Chance
    ) -> None:
        self._node = node
        self._cache = cache
        self._sync = sync
        self._calm = calm
        self._clock = clock
        self._chance = chance

    async def run(self) -> None:
        """Sign what falls due.

        Raises:
            FinialError: The server does not count the agent as attested any more.
        """
        coped = False
        while True:
            if left := self._calm.left():
                await self._calm.wait(left)
                continue
            batch = await self._until_work()
            shown: NodeIdentity | None = None
            try:
                async with self._node.link.use() as lease:
                    shown = lease.identity
                    await self._sign(lease.channel, batch)
            except FinialError as error:
                if await self._coped(error, shown, batch) and not coped:
                    coped = True
                    continue
                self._failed(error, batch)
                continue
            coped = False
            self._calm.went_well()

    async def _coped(
        self, error: FinialError, shown: NodeIdentity | None, batch: Sequence[AuthorizedEntry]
    ) -> bool:
        """Whether the agent's own standing was at fault, and is better now."""
        self._cache.wits.give_back(batch, self._clock.now())
        return await self._node.cope(error, shown)

    def _failed(self, error: FinialError, batch: Sequence[AuthorizedEntry]) -> None:
        """Try again later: everything when the server is away, these entries alone when it refuses."""
        if passing(error):
            self._calm.failed(error)
        else:
            now = self._clock.now()
            for entry in batch:
                self._cache.wits.failed(entry, now, self._chance.fraction())
            self._cache.wits_signed([entry.id for entry in batch])
        _log.warning("signing WIT-SVIDs failed", extra=fields(error=error, next_step=_hint(error)))

    async def _until_work(self) -> tuple[AuthorizedEntry, ...]:
        """Wait until something has to be signed, and take it; drop what has ended meanwhile."""
        wits, work = self._cache.wits, self._cache.wit_work
        while True:
            work.clear()
            now = self._clock.now()
            ended = wits.expire(now, _ENDED)
            if ended:
                self._cache.wits_signed(ended)  # what was made for workloads has their keys in it
            taken = wits.take(now, BATCH)
            if taken:
                return taken
            instants = (wits.next_at(), wits.next_end(), now + LONGEST_NAP)
            next_at = min(each for each in instants if each is not None)
            await wait_at_most(self._clock, work, max(next_at - now, _TURN))

    async def _sign(self, channel: Channel, entries: Sequence[AuthorizedEntry]) -> None:
        keys: list[Key] = []
        params: list[svid_pb.NewWITSVIDParams] = []
        for entry in entries:
            key = new_key()
            keys.append(key)
            der, algorithm = public_key_der(key.public_key()), algorithm_of(key)
            asked = svid_pb.NewWITSVIDParams(
                entry_id=entry.id, public_key=der, signing_algorithm=algorithm.value
            )
            params.append(asked)
            await self._breathe(len(keys))
        request = svid_pb.BatchNewWITSVIDRequest(params=params)
        reply = await channel.unary(svid_pb.SVID.BatchNewWITSVID, request, timeout=CALL_DEADLINE)
        if len(reply.results) != len(entries):
            message = f"the server answered {len(entries)} requests with {len(reply.results)} results"
            raise ProtocolError(_COUNT, message)
        signed: list[str] = []
        until = self._clock.monotonic() + _BUNDLE_PATIENCE.total_seconds()
        for number, (entry, key, result) in enumerate(zip(entries, keys, reply.results, strict=True), 1):
            if await self._taken(_Asked(entry, key, until), result):
                signed.append(entry.id)
            await self._breathe(number)
        self._cache.wits_signed([entry.id for entry in entries])
        _log.debug("WIT-SVIDs signed", extra=fields(count=len(signed)))

    async def _taken(self, asked: _Asked, result: svid_pb.BatchNewWITSVIDResponse.Result) -> bool:
        """Whether a token came of a request."""
        entry = asked.entry
        try:
            error = error_of(result.status)
            if error is not None:
                raise error
            proven = await self._proven(asked, result.svid.token)
        except FinialError as error:
            self._cache.wits.failed(entry, self._clock.now(), self._chance.fraction())
            self._sync.soon()  # the entry may be gone
            _log.warning("a WIT-SVID was not signed", extra=fields(entry=entry.id, error=error))
            return False
        now, spread = self._clock.now(), self._chance.fraction()
        return self._cache.wits.accept(entry, proven, now=now, spread=spread)

    async def _proven(self, asked: _Asked, token: str) -> ProvenWIT:
        entry, key = asked.entry, asked.key
        svid = WITSVID.parse(token, hint=entry.hint)
        if svid.id != entry.spiffe_id or svid.key != key.public_key():
            message = f"the server signed a token of {svid.id}, and was asked for one of {entry.spiffe_id}"
            raise WITAnswerError(_FOREIGN, message, subject=entry.id)
        verified = await self._verified(svid, asked)
        return ProvenWIT(svid, _fragment(entry, token, key), verified.authority)

    async def _verified(self, svid: WITSVID, asked: _Asked) -> VerifiedWIT:
        """What the own bundle proves; the server may have a newer one, which is waited for."""
        while True:
            news, own = self._cache.next_bundle(), BundleSet([self._cache.book.bundle])
            now, name = self._clock.now(), self._chance.token(16).hex()
            proof = make_proof(svid, _HERE, key=asked.key, jti=name, now=now)
            try:
                return validate_wit(svid.token, proof, own, scope=_HERE, now=now)
            except TokenVerifyError as error:
                left = timedelta(seconds=asked.until - self._clock.monotonic())
                if error.reason not in _KEY_TO_COME or left <= timedelta(0) or self._cache.wiped:
                    raise
            self._cache.bundle_awaited += 1
            try:
                self._sync.soon()
                await wait_at_most(self._clock, news, min(left, _BETWEEN_QUESTIONS))
            finally:
                self._cache.bundle_awaited -= 1

    async def _breathe(self, done: int) -> None:
        if done % _SLICE == 0:
            await self._clock.sleep(_TURN)


def _fragment(entry: AuthorizedEntry, token: str, key: Key) -> bytes:
    """The FetchWITSVID response with one identity. Clauses: WAPI-59."""
    private = json.dumps(jwk.write_private(key), separators=(",", ":"))
    svid = workload.WITSVID(
        spiffe_id=entry.spiffe_id.text, wit_svid=token, wit_svid_key=private, hint=entry.hint
    )
    return workload.WITSVIDResponse(svids=[svid]).SerializeToString()


def _hint(error: FinialError) -> str:
    if isinstance(error, RpcError) and error.code is StatusCode.UNIMPLEMENTED:
        return "Let the server opt in to WIT-SVIDs as well: incubating.wit_svid."
    return error.reason.hint

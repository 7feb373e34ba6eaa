"""Admitting nodes: what attestors say becomes a record and an SVID, in one step or not at all."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from finial.core.csr import read_csr
from finial.core.errors import SpiffeIDError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import PublicKey, public_key_der
from finial.core.selectors import canonical
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.plugin.node import AttestedNode, Exchange, NodeAttestorServer
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.log import fields
from finial.server.identity import Signer
from finial.server.store import nodes, tokens
from finial.server.store.errors import MissingError
from finial.server.store.records import NodeRecord
from finial.server.store.writer import Store, Tx
from finial.wire.statuses import Denial, denied

_log = logging.getLogger("finial.server")

JOIN_TOKEN = "join_token"  # noqa: S105 - an attestor's name
_LOGGED_DIGITS = 12
_SECOND_TIME = "attestation data has already been used to attest an agent; evict it to let it attest again"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A node that has been let in, or whose SVID has been renewed.

    Args:
        id: The agent's ID.
        chain: Its SVID, leaf first, without the root.
        can_reattest: Whether it attests again instead of renewing.
    """

    id: SpiffeID
    chain: tuple[Certificate, ...]
    can_reattest: bool


def join_token_id(trust_domain: TrustDomain, token: str) -> SpiffeID:
    """The ID of the agent that joins with a token.

    Raises:
        SpiffeIDError: The token cannot be a segment of a path.
    """
    return SpiffeID.from_parts(trust_domain, "spire", "agent", JOIN_TOKEN, token)


def loggable(agent_id: SpiffeID) -> str:
    """The ID of an agent as logs have it: of a join token nothing but a digest that tells agents apart.

    The token works once more for whoever has the key, but logs travel.
    """
    head, _, token = agent_id.text.rpartition("/")
    if not head.endswith(f"/spire/agent/{JOIN_TOKEN}"):
        return agent_id.text
    return f"{head}/sha256:{hashlib.sha256(token.encode()).hexdigest()[:_LOGGED_DIGITS]}"


class Attestation:
    """Lets nodes in.

    Args:
        trust_domain: The server's own.
        store: Where tokens are used and nodes recorded.
        signer: Signs node SVIDs.
        attestors: By name, beside join tokens, which are built in.
        ttl: Lifetime of a node SVID.
    """

    def __init__(
        self,
        trust_domain: TrustDomain,
        store: Store,
        *,
        signer: Signer,
        attestors: Mapping[str, NodeAttestorServer],
        ttl: timedelta,
    ) -> None:
        self._trust_domain = trust_domain
        self._store = store
        self._signer = signer
        self._attestors = attestors
        self._ttl = ttl

    async def by_token(self, token: str, csr: bytes) -> Admitted:
        """Let a node in that shows a join token.

        The token's use, the node's record and the log's row are one transaction. The same token with the
        same key a little later is the same use, since a reply can be lost.

        Raises:
            FinialError: The token lets nobody in, or the CSR cannot be read.
            RpcError: The agent is banned.
        """
        key = read_csr(csr)
        digest = hashlib.sha256(public_key_der(key)).digest()
        # Looked at before anything is signed, so that guessing costs the guesser more than the server.
        await self._store.write(lambda tx: tokens.check(tx, token, digest))
        try:
            agent_id = join_token_id(self._trust_domain, token)
        except SpiffeIDError:
            message = "failed to attest: join token does not exist or has already been used"
            raise tokens.TokenError(tokens.USED, message) from None
        node = AttestedNode(agent_id, (), can_reattest=False)
        return await self._admit(JOIN_TOKEN, node, key, first=lambda tx: tokens.use(tx, token, digest))

    async def by_plugin(self, name: str, payload: bytes, csr: bytes, *, exchange: Exchange) -> Admitted:
        """Let a node in that an attestor vouches for.

        Args:
            name: Of the attestor.
            payload: What the node shows at first.
            csr: PKCS#10 in DER, of which the key is taken.
            exchange: Sends a challenge to the node and returns what it answers.

        Raises:
            FinialError: The attestor refuses, or the CSR cannot be read.
            RpcError: There is no such attestor, or the agent is banned.
        """
        attestor = self._attestors.get(name)
        if attestor is None:
            message = f'error getting node attestor: could not find node attestor type "{name}"'
            raise RpcError(StatusCode.FAILED_PRECONDITION, message)
        key = read_csr(csr)
        node = await attestor.attest(payload, exchange)
        if not node.agent_id.path.startswith(f"/spire/agent/{name}/"):
            _log.warning(
                "an attestor gave an ID that is not below its own name",
                extra=fields(attestor=name, id=loggable(node.agent_id)),
            )
        return await self._admit(name, node, key, first=_nothing)

    async def renew(self, agent_id: SpiffeID, csr: bytes, *, recheck: Callable[[], None]) -> Admitted:
        """A new SVID for an agent that cannot attest again; the old one holds until the new one is used.

        Args:
            agent_id: Whose.
            csr: PKCS#10 in DER, of which the key is taken.
            recheck: Raises the RpcError that ends the call once the caller would not be admitted any more.

        Raises:
            FinialError: The CSR cannot be read.
            RpcError: The agent is unknown, banned, or has to attest again.
        """
        key = read_csr(csr)
        seen = await self._store.write(lambda tx: _check_renewal(nodes.find(tx, agent_id.text)))
        recheck()
        chain = self._sign(agent_id, key)
        await self._store.write(lambda tx: _note_renewal(tx, seen, chain[0]))
        return Admitted(agent_id, chain, can_reattest=False)

    async def _admit(
        self, kind: str, node: AttestedNode, key: PublicKey, *, first: Callable[[Tx], None]
    ) -> Admitted:
        chain = self._sign(node.agent_id, key)

        def record(tx: Tx) -> None:
            first(tx)
            old = nodes.find(tx, node.agent_id.text)
            if old is not None and old.banned:
                raise denied(Denial.AGENT_BANNED, "failed to attest: agent is banned")
            if old is not None and not node.can_reattest and kind != JOIN_TOKEN:
                # Tokens know themselves whether this is the same use.
                raise RpcError(StatusCode.PERMISSION_DENIED, f"nodeattestor({kind}): {_SECOND_TIME}")
            nodes.put(tx, _fresh(old, kind, node, chain[0]))

        await self._store.write(record)
        _log.info(
            "node attested",
            extra=fields(id=loggable(node.agent_id), attestor=kind, selectors=len(node.selectors)),
        )
        return Admitted(node.agent_id, chain, node.can_reattest)

    def _sign(self, agent_id: SpiffeID, key: PublicKey) -> tuple[Certificate, ...]:
        return self._signer.sign_svid(SVIDRequest(spiffe_id=agent_id, public_key=key), self._ttl)


def _fresh(old: NodeRecord | None, kind: str, node: AttestedNode, leaf: Certificate) -> NodeRecord:
    return NodeRecord(
        seq=0 if old is None else old.seq,
        id=node.agent_id.text,
        attestation_type=kind,
        serial=str(leaf.serial),
        expires_at=int(leaf.not_after.timestamp()),
        can_reattest=node.can_reattest,
        version="" if old is None else old.version,
        selectors=canonical(node.selectors),
    )


def _check_renewal(node: NodeRecord | None) -> NodeRecord:
    if node is None:
        raise MissingError("agent not found")
    if node.banned:
        raise denied(Denial.AGENT_BANNED, "agent is banned")
    if node.can_reattest:
        raise denied(Denial.AGENT_MUST_REATTEST, "agent must reattest instead of renew")
    return node


def _note_renewal(tx: Tx, seen: NodeRecord, leaf: Certificate) -> None:
    node = _check_renewal(nodes.find(tx, seen.id))
    if node.seq != seen.seq:  # evicted, and attested anew by whoever has its ID now
        raise denied(Denial.AGENT_NOT_ACTIVE, "agent has attested anew")
    end = int(leaf.not_after.timestamp())
    nodes.put(tx, replace(node, pending_serial=str(leaf.serial), pending_expires_at=end))


def _nothing(tx: Tx) -> None:
    """What has to happen first where no token is used."""

"""Who a caller is, judged at each call, and whether the policy lets it in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from functools import partial

from finial.core.ids import SpiffeID
from finial.core.x509path import VerifiedX509
from finial.rpc.peer import Peer
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.server.api.chain import Caller
from finial.server.fleet import Fleet
from finial.server.index.index import Index
from finial.server.policy import Role, allowed
from finial.server.store import nodes
from finial.server.store.records import NodeRecord
from finial.server.store.writer import Store, Tx
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.statuses import Denial, denied

_SIGNING = svid_pb.SVID.BatchNewX509SVID.path


class Access:
    """Admits callers.

    Args:
        index: Says who is an agent or an administrator now.
        store: Takes note when an agent first uses a renewed SVID.
        clock: Judges ends.
        admin_ids: IDs that administer the server by configuration, of any trust domain.
        fleet: Is told of each call of an agent; None where nobody asks for it.
    """

    def __init__(
        self,
        index: Index,
        store: Store,
        *,
        clock: Clock,
        admin_ids: Collection[SpiffeID],
        fleet: Fleet | None = None,
    ) -> None:
        self._index = index
        self._fleet = fleet
        self._store = store
        self._clock = clock
        self._admin_ids = frozenset(admin_ids)

    async def admit(self, peer: Peer, path: str) -> Caller:
        """The caller, in the role by which it may call.

        Args:
            peer: The other end of the connection.
            path: `/package.Service/Method`.

        Raises:
            RpcError: PERMISSION_DENIED; with the reason that agents look for where agents may call.
        """
        roles = allowed(path)
        local = peer.process is not None
        address = peer.address if local else peer.address.rpartition(":")[0]
        proof = peer.identity if isinstance(peer.identity, VerifiedX509) else None
        caller = Caller(Role.ANY, address, None if proof is None else proof.id)
        if Role.ANY in roles:
            if local:
                return replace(caller, role=Role.LOCAL)
            return caller if proof is None else replace(caller, expires_at=self._end_of_agent(proof))
        if local:
            if Role.LOCAL in roles:
                return replace(caller, role=Role.LOCAL)
        elif proof is not None:
            found = self._role_by_id(proof, roles)
            if found is not None:
                return replace(caller, role=found)
        if Role.AGENT in roles:
            return await self._admit_agent(caller, proof, path)
        raise RpcError(StatusCode.PERMISSION_DENIED, _refusal(path))

    def _role_by_id(self, proof: VerifiedX509, roles: frozenset[Role]) -> Role | None:
        if Role.ADMIN not in roles or not self._holds(proof):
            return None
        own = proof.id.member_of(self._index.trust_domain)
        now = self._clock.now().timestamp()
        if proof.id in self._admin_ids or (own and self._index.entries.is_admin(proof.id.text, now)):
            return Role.ADMIN
        return None

    def _holds(self, proof: VerifiedX509) -> bool:
        """Whether what was proven when the connection began, perhaps long ago, would be proven now."""
        record = self._index.bundles.get(proof.id.trust_domain.name)
        trusted = record is not None and proof.authority in record.bundle.x509_authorities
        return trusted and self._clock.now() < proof.expires_at

    def _end_of_agent(self, proof: VerifiedX509) -> datetime | None:
        """When an SVID ends that an agent shows now; None for others, and so for one of an evicted agent."""
        node = self._index.nodes.get(proof.id.text)
        if node is None or node.banned or self._clock.now() >= proof.leaf.not_after:
            return None
        shown = str(proof.leaf.serial) in {node.serial, node.pending_serial}
        return proof.leaf.not_after if shown else None

    async def _admit_agent(self, caller: Caller, proof: VerifiedX509 | None, path: str) -> Caller:
        node = self._node_of(proof, path)
        assert proof is not None  # or it had no node
        serial = str(proof.leaf.serial)
        if serial == node.pending_serial:
            seen = node
            await self._store.write(lambda tx: _activate(tx, seen))
            node = self._node_of(proof, path)  # it may have been banned meanwhile
        if serial != node.serial:
            raise denied(Denial.AGENT_NOT_ACTIVE, _refusal(path))
        if self._fleet is not None:
            self._fleet.heard(proof.id.text, proof.authority, signing=path == _SIGNING)
        return replace(
            caller,
            role=Role.AGENT,
            recheck=partial(self._recheck, proof, path, seq=node.seq),
            expires_at=proof.leaf.not_after,
        )

    def _recheck(self, proof: VerifiedX509, path: str, *, seq: int) -> None:
        # The row and not the serial: a renewed SVID that is used ends no call that the one before has begun,
        # but an agent that was evicted has nothing to do with the one that attested under its ID afterwards.
        if self._node_of(proof, path).seq != seq:
            raise denied(Denial.AGENT_NOT_ACTIVE, _refusal(path))

    def _node_of(self, proof: VerifiedX509 | None, path: str) -> NodeRecord:
        """The record of an agent that may call if its serial number is right."""
        if proof is None or not proof.id.member_of(self._index.trust_domain):
            raise denied(Denial.AGENT_NOT_ATTESTED, _refusal(path))
        if self._clock.now() >= proof.leaf.not_after:
            raise denied(Denial.AGENT_EXPIRED, _refusal(path))
        node = self._index.nodes.get(proof.id.text)
        if node is None:
            raise denied(Denial.AGENT_NOT_ATTESTED, _refusal(path))
        if node.banned:
            raise denied(Denial.AGENT_BANNED, _refusal(path))
        own = self._index.bundle
        if own is not None and proof.authority not in own.x509_authorities:
            # Whoever has the key of a revoked authority can show any agent's serial number. To the agent
            # itself this is no reason to give up: it says nothing of its standing.
            message = "the authority below which this agent's SVID was signed is not trusted any more"
            raise RpcError(StatusCode.UNAUTHENTICATED, message)
        return node


def _activate(tx: Tx, seen: NodeRecord) -> None:
    """The pending SVID has been used: it is the one from now on, and the one before it is no more."""
    node = nodes.find(tx, seen.id)
    if node is None or node.banned or node.pending_serial != seen.pending_serial:
        return  # another call, or an operator, came first
    nodes.put(
        tx,
        replace(
            node,
            serial=node.pending_serial,
            expires_at=node.pending_expires_at,
            pending_serial="",
            pending_expires_at=0,
        ),
    )


def _refusal(path: str) -> str:
    return f"authorization denied for method {path}"

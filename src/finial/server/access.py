"""Who a caller is, judged at each call, and whether the policy lets it in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from finial.core.ids import SpiffeID
from finial.core.x509path import VerifiedX509
from finial.rpc.peer import Peer
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.server.api.chain import Caller
from finial.server.index.index import Index
from finial.server.policy import Role, allowed
from finial.server.store import nodes
from finial.server.store.records import NodeRecord
from finial.server.store.writer import Store, Tx
from finial.wire.statuses import Denial, denied


class Access:
    """Admits callers.

    Args:
        index: Says who is an agent or an administrator now.
        store: Takes note when an agent first uses a renewed SVID.
        clock: Judges ends.
        admin_ids: IDs that administer the server by configuration, of any trust domain.
    """

    def __init__(self, index: Index, store: Store, *, clock: Clock, admin_ids: Collection[SpiffeID]) -> None:
        self._index = index
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
            return replace(caller, role=Role.LOCAL) if local else caller
        if local:
            if Role.LOCAL in roles:
                return replace(caller, role=Role.LOCAL)
        elif proof is not None:
            found = self._role_by_id(proof.id, roles)
            if found is not None:
                return replace(caller, role=found)
        if Role.AGENT in roles:
            await self._admit_agent(proof, path)
            return replace(caller, role=Role.AGENT)
        raise RpcError(StatusCode.PERMISSION_DENIED, _refusal(path))

    def _role_by_id(self, spiffe_id: SpiffeID, roles: frozenset[Role]) -> Role | None:
        now = self._clock.now().timestamp()
        if Role.ADMIN in roles:
            if spiffe_id in self._admin_ids:
                return Role.ADMIN
            own = spiffe_id.member_of(self._index.trust_domain)
            if own and self._index.entries.is_admin(spiffe_id.text, now):
                return Role.ADMIN
        return None

    async def _admit_agent(self, proof: VerifiedX509 | None, path: str) -> None:
        denial = self._judge_agent(proof)
        if denial is None:
            return
        if isinstance(denial, NodeRecord):
            seen = denial
            await self._store.write(lambda tx: _activate(tx, seen))
            denial = self._judge_agent(proof)  # it may have been banned meanwhile
            if denial is None:
                return
        reason = denial if isinstance(denial, Denial) else Denial.AGENT_NOT_ACTIVE
        raise denied(reason, _refusal(path))

    def _judge_agent(self, proof: VerifiedX509 | None) -> Denial | NodeRecord | None:
        """Why it may not call as an agent; its record, when its renewed SVID has to be noted first."""
        if proof is None or not proof.id.member_of(self._index.trust_domain):
            return Denial.AGENT_NOT_ATTESTED
        if self._clock.now() >= proof.leaf.not_after:
            return Denial.AGENT_EXPIRED
        node = self._index.nodes.get(proof.id.text)
        if node is None:
            return Denial.AGENT_NOT_ATTESTED
        if node.banned:
            return Denial.AGENT_BANNED
        serial = str(proof.leaf.serial)
        if serial == node.serial:
            return None
        return node if serial == node.pending_serial else Denial.AGENT_NOT_ACTIVE


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

"""The Agent service: nodes join, renew and report; operators list, ban and evict them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError, SpiffeIDError
from finial.core.ids import SpiffeID, TrustDomain, is_agent_id
from finial.core.selectors import Selector
from finial.rpc.servercall import ServerCall
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.api.chain import Caller, Endpoint, bidi, unary
from finial.server.api.patience import within
from finial.server.api.replies import named, random_id, svid
from finial.server.api.slices import Slices
from finial.server.attest import JOIN_TOKEN, Attestation, join_token_id, loggable
from finial.server.index.index import Index
from finial.server.limits import Limiter
from finial.server.store import entries, nodes, tokens
from finial.server.store.errors import StoreError
from finial.server.store.records import NodeRecord
from finial.server.store.writer import Store, Tx
from finial.wire import agents, masks, paging, registry
from finial.wire.gen import google_protobuf as pb
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_types as types

_log = logging.getLogger("finial.server")

MAX_VERSION_CHARACTERS = 255
ATTESTATION_TIME = timedelta(minutes=1)
"""How long the conversation may take in which a node proves what it is."""

_AttestCall = ServerCall[agent_pb.AttestAgentRequest, agent_pb.AttestAgentResponse]


class AgentService:
    """Serves `spire.api.server.agent.v1.Agent`.

    Args:
        index: Answers lists.
        store: Takes writes.
        attestation: Lets nodes in.
        limits: Of attestation, of signing, of status reports, in this order.
        clock: Dates tokens.
        chance: Makes tokens and ids.
        max_token_ttl: Longest life of a join token.
    """

    def __init__(
        self,
        index: Index,
        store: Store,
        attestation: Attestation,
        *,
        limits: tuple[Limiter | None, Limiter | None, Limiter],
        clock: Clock,
        chance: Chance,
        max_token_ttl: timedelta,
    ) -> None:
        self._index = index
        self._store = store
        self._attestation = attestation
        self._attest_limit, self._sign_limit, self._status_limit = limits
        self._clock = clock
        self._chance = chance
        self._max_token_ttl = max_token_ttl

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        service = agent_pb.Agent
        return (
            unary(service.CountAgents, self.count),
            unary(service.ListAgents, self.list),
            unary(service.GetAgent, self.get),
            unary(service.DeleteAgent, self.delete),
            unary(service.BanAgent, self.ban),
            bidi(service.AttestAgent, self.attest),
            unary(service.RenewAgent, self.renew),
            unary(service.CreateJoinToken, self.create_join_token),
            unary(service.PostStatus, self.post_status),
        )

    async def count(self, request: agent_pb.CountAgentsRequest, _: Caller) -> agent_pb.CountAgentsResponse:
        """How many nodes match."""
        found = await self._found(agents.count_filter(request), paging.Page())
        return agent_pb.CountAgentsResponse(count=len(found))

    async def list(self, request: agent_pb.ListAgentsRequest, _: Caller) -> agent_pb.ListAgentsResponse:
        """A page of the nodes that match."""
        page = paging.read(request.page_size, request.page_token)
        found = await self._found(agents.list_filter(request), page)
        mask = masks.output_mask(request)
        response = agent_pb.ListAgentsResponse(next_page_token=page.token([node.seq for node in found]))
        slices = Slices(self._clock)
        for node in found:
            response.agents.append(agents.to_message(_view(node), mask))
            if slices.over():
                await slices.turn()
        return response

    async def get(self, request: agent_pb.GetAgentRequest, _: Caller) -> types.Agent:
        """One node."""
        agent_id = self._agent_id(request.HasField("id"), request.id)
        node = self._index.nodes.get(agent_id.text)
        if node is None:
            raise RpcError(StatusCode.NOT_FOUND, "agent not found")
        return agents.to_message(_view(node), masks.output_mask(request))

    async def delete(self, request: agent_pb.DeleteAgentRequest, caller: Caller) -> pb.Empty:
        """Evict a node: nothing of it is remembered, and its join token lets nobody in again."""
        agent_id = self._agent_id(request.HasField("id"), request.id)
        await self._store.write(lambda tx: _evict(tx, agent_id))
        _log.info("agent evicted", extra=fields(id=loggable(agent_id), by=named(caller)))
        return pb.Empty()

    async def ban(self, request: agent_pb.BanAgentRequest, caller: Caller) -> pb.Empty:
        """Keep a node out until its record is deleted."""
        agent_id = self._agent_id(request.HasField("id"), request.id)
        await self._store.write(lambda tx: _ban(tx, agent_id))
        _log.info("agent banned", extra=fields(id=loggable(agent_id), by=named(caller)))
        return pb.Empty()

    async def attest(self, call: _AttestCall, caller: Caller) -> None:
        """The conversation in which a node proves what it is."""
        if self._attest_limit is not None:
            await self._attest_limit.wait(caller)
        await within(self._clock, ATTESTATION_TIME, self._converse(call))

    async def _converse(self, call: _AttestCall) -> None:
        request = await call.receive()
        params = _attest_params(request)

        async def exchange(challenge: bytes) -> bytes:
            await call.send(agent_pb.AttestAgentResponse(challenge=challenge))
            answer = await call.receive()
            if answer is None or answer.WhichOneof("step") != "challenge_response":
                raise RpcError(StatusCode.INVALID_ARGUMENT, "malformed param: missing challenge response")
            return answer.challenge_response

        kind, payload, csr = params.data.type, params.data.payload, params.params.csr
        if kind == JOIN_TOKEN:
            admitted = await self._attestation.by_token(payload.decode("utf-8", "replace"), csr)
        else:
            admitted = await self._attestation.by_plugin(kind, payload, csr, exchange=exchange)
        result = agent_pb.AttestAgentResponse.Result(
            svid=svid(admitted.id, admitted.chain), reattestable=admitted.can_reattest
        )
        await call.send(agent_pb.AttestAgentResponse(result=result))

    async def renew(self, request: agent_pb.RenewAgentRequest, caller: Caller) -> agent_pb.RenewAgentResponse:
        """A new SVID for the agent that calls."""
        if self._sign_limit is not None:
            await self._sign_limit.wait(caller)
            caller.recheck()
        if not request.HasField("params"):
            raise RpcError(StatusCode.INVALID_ARGUMENT, "params cannot be nil")
        if not request.params.csr:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "missing CSR")
        admitted = await self._attestation.renew(caller.agent_id, request.params.csr, recheck=caller.recheck)
        return agent_pb.RenewAgentResponse(svid=svid(admitted.id, admitted.chain))

    async def create_join_token(
        self, request: agent_pb.CreateJoinTokenRequest, caller: Caller
    ) -> types.JoinToken:
        """A token that lets one node in, and an entry for the further ID that it may bring."""
        if request.ttl < 1:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "ttl is required, you must provide one")
        ttl = timedelta(seconds=request.ttl)
        if ttl > self._max_token_ttl:
            limit = int(self._max_token_ttl.total_seconds())
            message = (
                f"ttl of {request.ttl} seconds is above the server's limit of {limit}: "
                "ask for less, or raise its max_join_token_ttl"
            )
            raise RpcError(StatusCode.INVALID_ARGUMENT, message)
        token = request.token or random_id(self._chance)
        try:
            agent_id = join_token_id(self._index.trust_domain, token)
        except SpiffeIDError as error:
            message = f"invalid token: it becomes part of the agent's ID, but {error}"
            raise RpcError(StatusCode.INVALID_ARGUMENT, message) from error
        alias = None
        if request.HasField("agent_id"):
            alias = self._alias(registry.read_id(request.agent_id), agent_id)
        expires_at = int((self._clock.now() + ttl).timestamp())
        await self._store.write(lambda tx: _create_token(tx, token, alias, expires_at))
        brought = alias.spiffe_id if alias else ""
        _log.info("join token created", extra=fields(ttl=request.ttl, id=brought, by=named(caller)))
        return types.JoinToken(value=token, expires_at=expires_at)

    async def post_status(
        self, request: agent_pb.PostStatusRequest, caller: Caller
    ) -> agent_pb.PostStatusResponse:
        """Take note of the version that an agent runs."""
        await self._status_limit.wait(caller)
        version = request.agent_version[:MAX_VERSION_CHARACTERS]
        node = self._index.nodes.get(caller.agent_id.text)
        if version and node is not None and node.version != version:
            await self._store.write(lambda tx: _note_version(tx, caller.agent_id, version))
        return agent_pb.PostStatusResponse()

    async def _found(self, wanted: agents.Wanted, page: paging.Page) -> Sequence[NodeRecord]:
        found: list[NodeRecord] = []
        slices = Slices(self._clock)
        for node in self._index.nodes.after(page.after):
            if wanted(_view(node)):
                found.append(node)
                if len(found) == page.size:
                    break
            if slices.over():
                await slices.turn()
        return found

    def _agent_id(self, given: bool, message: types.SPIFFEID) -> SpiffeID:
        if not given:
            raise _invalid_agent("request must specify SPIFFE ID")
        try:
            spiffe_id = registry.read_id(message)
        except FinialError as error:
            raise _invalid_agent(str(error)) from error
        if not spiffe_id.member_of(self._index.trust_domain):
            raise _invalid_agent(
                f'"{spiffe_id}" is not a member of trust domain "{self._index.trust_domain}"'
            )
        if not is_agent_id(spiffe_id):
            raise _invalid_agent(
                f'"{spiffe_id}" is not an agent in trust domain "{self._index.trust_domain}"'
            )
        return spiffe_id

    def _alias(self, spiffe_id: SpiffeID, parent: SpiffeID) -> RegistrationEntry:
        _check_alias_domain(spiffe_id, self._index.trust_domain)
        return RegistrationEntry(
            id=random_id(self._chance),
            spiffe_id=spiffe_id,
            parent_id=parent,
            selectors=(Selector("spiffe_id", parent.text),),
        )


def _check_alias_domain(spiffe_id: SpiffeID, trust_domain: TrustDomain) -> None:
    if not spiffe_id.member_of(trust_domain):
        message = f'invalid agent ID: "{spiffe_id}" is not a member of trust domain "{trust_domain}"'
        raise RpcError(StatusCode.INVALID_ARGUMENT, message)


def _invalid_agent(why: str) -> RpcError:
    return RpcError(StatusCode.INVALID_ARGUMENT, f"invalid agent ID: {why}")


def _attest_params(request: agent_pb.AttestAgentRequest | None) -> agent_pb.AttestAgentRequest.Params:
    if request is None or not request.HasField("params"):
        raise _malformed("params")
    params = request.params
    checks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("attestation data", lambda: params.HasField("data")),
        ("attestation data type", lambda: params.data.type),
        ("attestation data payload", lambda: params.data.payload),
        ("X509-SVID parameters", lambda: params.HasField("params")),
        ("CSR", lambda: params.params.csr),
    )
    for what, present in checks:
        if not present():
            raise _malformed(what)
    return params


def _malformed(what: str) -> RpcError:
    return RpcError(StatusCode.INVALID_ARGUMENT, f"malformed param: missing {what}")


def _view(node: NodeRecord) -> agents.AgentView:
    return agents.AgentView(
        id=SpiffeID(node.id),
        attestation_type=node.attestation_type,
        serial=node.serial,
        expires_at=node.expires_at,
        selectors=node.selectors,
        can_reattest=node.can_reattest,
        version=node.version,
    )


def _evict(tx: Tx, agent_id: SpiffeID) -> None:
    node = nodes.remove(tx, agent_id.text)
    if node.attestation_type != JOIN_TOKEN:
        return
    tokens.forget(tx, agent_id.path.rpartition("/")[2])
    for entry_id in entries.below(tx, agent_id.text):
        entry = registry.decode_entry(entries.get(tx, entry_id).data)
        if entry.selectors == (Selector("spiffe_id", agent_id.text),):
            entries.remove(tx, entry_id)  # made together with the token


def _ban(tx: Tx, agent_id: SpiffeID) -> None:
    node = nodes.get(tx, agent_id.text)
    nodes.put(tx, replace(node, serial="", pending_serial="", pending_expires_at=0))


def _create_token(tx: Tx, token: str, alias: RegistrationEntry | None, expires_at: int) -> None:
    try:
        tokens.create(tx, token, expires_at=expires_at)
    except StoreError as error:
        raise RpcError(StatusCode.ALREADY_EXISTS, error.message) from error
    if alias is not None:
        result = entries.create(tx, [alias])[0]
        if isinstance(result, FinialError):
            raise result


def _note_version(tx: Tx, agent_id: SpiffeID, version: str) -> None:
    nodes.put(tx, replace(nodes.get(tx, agent_id.text), version=version))

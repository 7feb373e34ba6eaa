"""A complete server in memory, behind the same calls and the same TLS as a real one; tests bend its state."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from finial.core import pem
from finial.core.bundle import Bundle, BundleSet
from finial.core.csr import read_csr
from finial.core.ids import SpiffeID, TrustDomain, server_id
from finial.core.keys import PublicKey, public_key_der, write_private_key
from finial.core.x509_profile import CARequest, Issuer, Order, SVIDRequest, issue_root, issue_svid
from finial.core.x509cert import Certificate
from finial.core.x509path import VerifiedX509, verify_x509
from finial.rpc import Limits, Route, RpcError, Server, ServerCall, ServerTLS, StatusCode, Tcp, bidi, unary
from finial.runtime.clock import Clock
from finial.runtime.tls import KeyPair, server_context
from finial.wire.bundles import bundle_message
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import id_message
from finial.wire.status import error_from
from finial.wire.statuses import Denial, denied, ok, status
from support.fake_push import FakePush
from support.fake_tokens import FakeTokens
from support.fake_wits import FakeWITs

_Call = ServerCall[Any, Any]

EXAMPLE = TrustDomain("example.org")
ANY_PORT = Tcp("127.0.0.1", 0)


@dataclass(frozen=True)
class Authority:
    """A signing key with its self-signed certificate."""

    certificate: Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return pem.write(pem.CERTIFICATE, [self.certificate.der])


@dataclass
class Node:
    """What the server knows of an agent."""

    current: int
    pending: int | None = None
    attested: int = 1


@dataclass
class FakeServer:
    """Its fields are its state; every method of a test's wish changes them while it runs."""

    clock: Clock
    domain: TrustDomain = EXAMPLE
    agent_ttl: timedelta = timedelta(hours=1)
    svid_ttl: timedelta = timedelta(hours=1)
    page: int = 500
    reattestable: bool = False
    challenges: int = 0
    entries: dict[str, types.Entry] = field(default_factory=dict)
    dns_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    foreign: dict[str, types.Bundle] = field(default_factory=dict)
    tokens: dict[str, bytes | None] = field(default_factory=dict)  # the key that used it, once it is used
    nodes: dict[str, Node] = field(default_factory=dict)
    denial: Denial | None = None  # for every call of an agent
    errors: dict[str, RpcError] = field(default_factory=dict)  # by method
    errors_once: dict[str, RpcError] = field(default_factory=dict)
    unsigned: set[str] = field(default_factory=set)  # entries that are refused a signature
    calls: Counter[str] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    published: list[Authority] = field(default_factory=list)
    tainted: set[Certificate] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)  # calls wait while it is not set
    connections: int = 0
    server_path: SpiffeID | None = None
    node_authority: Authority | None = None  # signs agents, where it is another one
    address: Tcp = ANY_PORT
    sequence: int = 1
    pushes: bool = False
    _serial: int = 100
    _server: Server | None = None

    def __post_init__(self) -> None:
        self.gate.set()
        self.active = self.new_authority()
        self.published = [self.active]
        self.push = FakePush(self)
        self.jwt = FakeTokens(self)
        self.wit = FakeWITs(self)

    # What tests change.

    def new_authority(self, ttl: timedelta = timedelta(days=1)) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        request = CARequest(trust_domain=self.domain, public_key=key.public_key())
        order = Order(now=self.clock.now(), serial=self.next_serial(), ttl=ttl)
        return Authority(issue_root(request, order, key=key), key)

    def prepare(self) -> Authority:
        """Publish another authority."""
        fresh = self.new_authority()
        self.published.append(fresh)
        self.sequence += 1
        return fresh

    def taint(self, authority: Authority) -> None:
        self.tainted.add(authority.certificate)
        self.sequence += 1

    def revoke(self, authority: Authority) -> None:
        self.published.remove(authority)
        self.sequence += 1

    def add(self, entry_id: str, path: str, *selectors: str, **changes: Any) -> types.Entry:
        """Register a workload, or change it: another revision."""
        old = self.entries.get(entry_id)
        split = [text.partition(":") for text in selectors]
        settings: dict[str, Any] = {
            "created_at": 1_000 if old is None else old.created_at,
            "revision_number": 0 if old is None else old.revision_number + 1,
            **changes,
        }
        entry = types.Entry(
            id=entry_id,
            spiffe_id=types.SPIFFEID(trust_domain=self.domain.name, path=path),
            selectors=[types.Selector(type=kind, value=value) for kind, _, value in split],
            **settings,
        )
        self.entries[entry_id] = entry
        return entry

    def federate(self, name: str) -> Bundle:
        """Have a foreign bundle; a new one each time."""
        key = ec.generate_private_key(ec.SECP256R1())
        domain = TrustDomain(name)
        request = CARequest(trust_domain=domain, public_key=key.public_key())
        order = Order(now=self.clock.now(), serial=self.next_serial(), ttl=timedelta(days=1))
        bundle = Bundle(trust_domain=domain, x509_authorities=(issue_root(request, order, key=key),))
        self.foreign[name] = bundle_message(bundle)
        return bundle

    def token(self, text: str = "token-1") -> str:
        self.tokens[text] = None
        return text

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    @property
    def bundle(self) -> Bundle:
        return Bundle(
            trust_domain=self.domain,
            x509_authorities=tuple(each.certificate for each in self.published),
            tainted=frozenset(self.tainted),
            jwt_authorities=tuple(self.jwt.published),
            wit_authorities=tuple(self.wit.published),
            sequence=self.sequence,
        )

    # Coming and going.

    async def start(self) -> Tcp:
        limits = Limits(drain_notice=timedelta(milliseconds=1))
        self._server = Server(self.routes(), translate=error_from, limits=limits)
        tls = ServerTLS(self._context, self._verify)
        address = await self._server.listen(self.address, tls=tls)
        assert isinstance(address, Tcp)
        self.address = address
        return address

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(timedelta(milliseconds=20))
            self._server = None

    async def send_away(self) -> None:
        """A GOAWAY to everybody, as a server does to old connections."""
        assert self._server is not None
        for connection in list(self._server._connections):
            connection.drain()

    def _context(self) -> Any:
        self.connections += 1
        key = ec.generate_private_key(ec.SECP256R1())
        spiffe_id = self.server_path or server_id(self.domain)
        leaf = self._sign(spiffe_id, key.public_key(), timedelta(hours=1))
        identity = KeyPair(
            pem.write(pem.CERTIFICATE, [leaf.der]), pem.write(pem.PRIVATE_KEY, [write_private_key(key)])
        )
        return server_context(identity, [each.certificate.der for each in self.published])

    def _verify(self, chain: tuple[bytes, ...]) -> VerifiedX509:
        return verify_x509(chain, BundleSet([self.bundle]), now=self.clock.now())

    def _sign_agent(self, agent_id: SpiffeID, key: PublicKey) -> Certificate:
        shown = self.active
        self.active = self.node_authority or shown
        try:
            return self._sign(agent_id, key, self.agent_ttl)
        finally:
            self.active = shown

    def _sign(
        self, spiffe_id: SpiffeID, key: PublicKey, ttl: timedelta, dns_names: tuple[str, ...] = ()
    ) -> Certificate:
        issuer = Issuer(self.domain, self.active.certificate)
        request = SVIDRequest(spiffe_id=spiffe_id, public_key=key, dns_names=dns_names)
        order = Order(now=self.clock.now(), serial=self.next_serial(), ttl=ttl)
        return issue_svid(request, issuer, order, key=self.active.key)

    # What it serves.

    def routes(self) -> list[Route]:
        pushing = [bidi(push_pb.Push.Subscribe, self.push.subscribe)] if self.pushes else []
        return [
            *pushing,
            bidi(agent_pb.Agent.AttestAgent, self.attest_agent),
            unary(agent_pb.Agent.RenewAgent, self.renew_agent),
            unary(agent_pb.Agent.PostStatus, self.post_status),
            bidi(entry_pb.Entry.SyncAuthorizedEntries, self.sync),
            unary(bundle_pb.Bundle.GetBundle, self.get_bundle),
            unary(bundle_pb.Bundle.GetFederatedBundle, self.get_federated_bundle),
            unary(svid_pb.SVID.BatchNewX509SVID, self.batch_new),
            unary(svid_pb.SVID.NewJWTSVID, self.jwt.new_jwt),
            unary(svid_pb.SVID.BatchNewWITSVID, self.wit.batch_new),
        ]

    async def _enter(self, call: _Call) -> None:
        self.calls[call.method.name] += 1
        await self.gate.wait()
        error = self.errors_once.pop(call.method.name, None) or self.errors.get(call.method.name)
        if error is not None:
            raise error

    async def _admit(self, call: _Call) -> str:
        """The agent that calls, or the refusal that a real server would give."""
        await self._enter(call)
        identity = call.peer.identity
        if not isinstance(identity, VerifiedX509):
            raise denied(Denial.AGENT_NOT_ATTESTED, "no agent")
        if self.denial is not None:
            raise denied(self.denial, "denied")
        node = self.nodes.get(identity.id.text)
        if node is None:
            raise denied(Denial.AGENT_NOT_ATTESTED, "agent is not attested")
        serial = identity.leaf.serial
        if serial == node.pending:
            node.current, node.pending = serial, None
        if serial != node.current:
            raise denied(Denial.AGENT_NOT_ACTIVE, "agent SVID is not active")
        return identity.id.text

    async def attest_agent(self, call: _Call) -> None:
        await self._enter(call)
        first = await call.receive()
        assert first is not None
        data, key = first.params.data, read_csr(first.params.params.csr)
        name = data.payload.decode()
        if data.type == "join_token":
            used_by = self.tokens.get(name, b"")
            if used_by not in {None, public_key_der(key)}:
                text = "failed to attest: join token does not exist or has already been used"
                raise RpcError(StatusCode.INVALID_ARGUMENT, text)
            self.tokens[name] = public_key_der(key)
        for number in range(self.challenges):
            await call.send(agent_pb.AttestAgentResponse(challenge=b"challenge %d" % number))
            reply = await call.receive()
            assert reply is not None
            assert reply.challenge_response == b"response to challenge %d" % number
        spiffe_id = SpiffeID.from_path(self.domain, f"/spire/agent/{data.type}/{name}")
        leaf = self._sign_agent(spiffe_id, key)
        old = self.nodes.get(spiffe_id.text)
        self.nodes[spiffe_id.text] = Node(leaf.serial, attested=old.attested + 1 if old else 1)
        result = agent_pb.AttestAgentResponse.Result(
            svid=self._message(spiffe_id, leaf), reattestable=self.reattestable
        )
        await call.send(agent_pb.AttestAgentResponse(result=result))

    def _message(self, spiffe_id: SpiffeID, leaf: Certificate) -> types.X509SVID:
        return types.X509SVID(
            cert_chain=[leaf.der], id=id_message(spiffe_id), expires_at=int(leaf.not_after.timestamp())
        )

    async def renew_agent(self, request: agent_pb.RenewAgentRequest, call: _Call) -> Any:
        agent_id = SpiffeID(await self._admit(call))
        leaf = self._sign_agent(agent_id, read_csr(request.params.csr))
        self.nodes[agent_id.text].pending = leaf.serial
        return agent_pb.RenewAgentResponse(svid=self._message(agent_id, leaf))

    async def post_status(self, request: agent_pb.PostStatusRequest, call: _Call) -> Any:
        await self._admit(call)
        self.versions.append(request.agent_version)
        return agent_pb.PostStatusResponse()

    async def sync(self, call: _Call) -> None:
        await self._admit(call)
        first = await call.receive()
        assert first is not None
        assert not first.ids
        assert first.output_mask.revision_number
        entries = list(self.entries.values())
        reply = entry_pb.SyncAuthorizedEntriesResponse
        if len(entries) <= self.page:
            await call.send(reply(entries=entries))
            return
        for at in range(0, len(entries), self.page):
            revisions = [
                entry_pb.EntryRevision(
                    id=each.id, revision_number=each.revision_number, created_at=each.created_at
                )
                for each in entries[at : at + self.page]
            ]
            await call.send(reply(entry_revisions=revisions, more=at + self.page < len(entries)))
        async for wanted in call:
            assert 0 < len(wanted.ids) <= self.page
            self.calls["ids"] += len(wanted.ids)
            found = [self.entries[each] for each in wanted.ids if each in self.entries]
            await call.send(reply(entries=found))

    async def get_bundle(self, _: bundle_pb.GetBundleRequest, call: _Call) -> types.Bundle:
        await self._enter(call)
        return bundle_message(self.bundle)

    async def get_federated_bundle(
        self, request: bundle_pb.GetFederatedBundleRequest, call: _Call
    ) -> types.Bundle:
        await self._admit(call)
        found = self.foreign.get(request.trust_domain)
        if found is None:
            raise RpcError(StatusCode.NOT_FOUND, "bundle not found")
        return found

    async def batch_new(self, request: svid_pb.BatchNewX509SVIDRequest, call: _Call) -> Any:
        await self._admit(call)
        self.batches.append(len(request.params))
        results = []
        for params in request.params:
            entry = self.entries.get(params.entry_id)
            if entry is None or entry.id in self.unsigned:
                refused = status(StatusCode.NOT_FOUND, "entry not found or not authorized")
                results.append(svid_pb.BatchNewX509SVIDResponse.Result(status=refused))
                continue
            spiffe_id = SpiffeID.from_path(self.domain, entry.spiffe_id.path)
            names = self.dns_names.get(entry.id, ())
            leaf = self._sign(spiffe_id, read_csr(params.csr), self.svid_ttl, names)
            svid = self._message(spiffe_id, leaf)
            results.append(svid_pb.BatchNewX509SVIDResponse.Result(status=ok(), svid=svid))
        return svid_pb.BatchNewX509SVIDResponse(results=results)


@asynccontextmanager
async def serving(server: FakeServer) -> AsyncIterator[FakeServer]:
    """The server, from start to stop."""
    await server.start()
    try:
        yield server
    finally:
        await server.stop()

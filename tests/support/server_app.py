"""The whole server in the test's own process: real sockets, the test's clock, callers of each kind."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from finial.core import pem
from finial.core.bundle import BundleSet
from finial.core.ids import TrustDomain, server_id
from finial.core.keys import PrivateKey, write_private_key
from finial.core.match import ExactID
from finial.core.x509path import verify_x509
from finial.rpc import Channel, ClientTLS, Tcp, Unix
from finial.runtime.clock import Clock
from finial.runtime.tls import KeyPair, client_context
from finial.server import app
from finial.server.config import ServerSettings
from finial.wire import bundles
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.clock import FixedChance, ManualClock

DOMAIN = TrustDomain("example.org")


def csr(key: PrivateKey, uri: str = "") -> bytes:
    """A request as SPIRE's agents send it."""
    name = x509.Name.from_rfc4514_string("C=US,O=SPIRE")
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if uri:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class AgentIdentity:
    """What an agent holds."""

    id: str
    chain: tuple[bytes, ...]
    key: ec.EllipticCurvePrivateKey
    reattestable: bool = False

    @property
    def pair(self) -> KeyPair:
        return KeyPair(
            pem.write(pem.CERTIFICATE, self.chain), pem.write(pem.PRIVATE_KEY, [write_private_key(self.key)])
        )

    @property
    def leaf(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.chain[0])


@dataclass
class RunningServer:
    """A server, and ways to call it."""

    settings: ServerSettings
    clock: Clock
    address: Tcp
    admin: Channel
    stop: asyncio.Event
    task: asyncio.Task[None]
    channels: list[Channel] = field(default_factory=list)

    async def trust(self) -> BundleSet:
        """The server's bundle, by its administration socket."""
        message = await self.admin.unary(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
        return BundleSet([bundles.read_bundle(message)])

    async def channel(self, identity: KeyPair | None = None) -> Channel:
        """A channel over TLS, anonymous or with an identity; the server has proven its own."""
        trust = await self.trust()
        roots = [root.der for bundle in trust.values() for root in bundle.x509_authorities]
        context = client_context(roots, identity)
        wanted = ExactID(server_id(DOMAIN))
        tls = ClientTLS(
            lambda: context, lambda chain: verify_x509(chain, trust, now=self.clock.now(), accept=wanted)
        )
        channel = Channel(self.address, tls=tls)
        self.channels.append(channel)
        return channel

    async def token(self, agent_id: str = "", *, ttl: int = 600, token: str = "") -> str:
        """A new join token."""
        request = agent_pb.CreateJoinTokenRequest(ttl=ttl, token=token)
        if agent_id:
            request.agent_id.CopyFrom(types.SPIFFEID(trust_domain=DOMAIN.name, path=agent_id))
        return (await self.admin.unary(agent_pb.Agent.CreateJoinToken, request)).value

    async def attest(
        self, token: str, key: ec.EllipticCurvePrivateKey | None = None, *, kind: str = "join_token"
    ) -> AgentIdentity:
        """Attest as an agent does: without a certificate, by what the token field holds."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        channel = await self.channel()
        params = agent_pb.AttestAgentRequest.Params(
            data=types.AttestationData(type=kind, payload=token.encode()),
            params=agent_pb.AgentX509SVIDParams(csr=csr(key)),
        )
        async with channel.call(agent_pb.Agent.AttestAgent) as call:
            await call.send(agent_pb.AttestAgentRequest(params=params))
            await call.half_close()
            reply = await call.receive()
            assert reply is not None
            assert await call.receive() is None
        svid = reply.result.svid
        spiffe_id = f"spiffe://{svid.id.trust_domain}{svid.id.path}"
        return AgentIdentity(spiffe_id, tuple(svid.cert_chain), key, reply.result.reattestable)

    async def join(self, agent_id: str = "") -> AgentIdentity:
        """A new agent, joined by token."""
        return await self.attest(await self.token(agent_id))

    async def create(self, *entries: types.Entry) -> list[str]:
        """Create entries, each of which must be accepted; their ids."""
        request = entry_pb.BatchCreateEntryRequest(entries=entries)
        reply = await self.admin.unary(entry_pb.Entry.BatchCreateEntry, request)
        assert all(result.status.code == 0 for result in reply.results), reply
        return [result.entry.id for result in reply.results]


def an_entry(
    path: str, *, parent: str = "/node", selectors: tuple[str, ...] = ("unix:uid:0",)
) -> types.Entry:
    """An entry of the trust domain."""
    return types.Entry(
        spiffe_id=types.SPIFFEID(trust_domain=DOMAIN.name, path=path),
        parent_id=types.SPIFFEID(trust_domain=DOMAIN.name, path=parent),
        selectors=[
            types.Selector(type=kind, value=value)
            for kind, _, value in (selector.partition(":") for selector in selectors)
        ],
    )


@asynccontextmanager
async def running(
    folder: Path, *, clock: Clock | None = None, **more: object
) -> AsyncIterator[RunningServer]:
    """A server with its data in a folder; what has been settled there before is there again."""
    clock = clock or ManualClock()
    # Socket paths are short; the folders of tests are not.
    with tempfile.TemporaryDirectory(prefix="finial-") as sockets:
        values: dict[str, object] = {
            "trust_domain": DOMAIN,
            "data_dir": folder,
            "bind": Tcp("127.0.0.1", 0),
            "socket": Path(sockets) / "server.sock",
            "shutdown_grace": timedelta(milliseconds=100),
            "ratelimit_attestation": False,
            **more,
        }
        settings = ServerSettings(**values)  # type: ignore[arg-type]  # what a test names
        stop = asyncio.Event()
        ready: asyncio.Future[app.Running] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(
            app.run(settings, clock=clock, chance=FixedChance(), stop=stop, ready=ready.set_result)
        )
        try:
            waiting: set[asyncio.Future[Any]] = {task, ready}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            started = ready.result()
            assert isinstance(started.address, Tcp)
            admin = Channel(Unix(str(settings.socket)))
            server = RunningServer(settings, clock, started.address, admin, stop, task, [admin])
            try:
                yield server
            finally:
                for channel in server.channels:
                    await channel.close()
        finally:
            stop.set()
            if not task.done():
                await task

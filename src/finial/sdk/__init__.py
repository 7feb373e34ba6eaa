"""For applications: who am I, whom do I trust, and TLS between the two, following every rotation.

async with X509Source() as source:  # asks the agent at SPIFFE_ENDPOINT_SOCKET
    context = client_context(source, source, ExactID(SpiffeID("spiffe://example.org/db")))
    reader, writer = await asyncio.open_connection("db.internal", 5432, ssl=context)
    print("talking to", peer_id(writer))
"""

from finial.core.bundle import Bundle, BundleSet, BundleSource
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.match import ANY_ID, AnyID, ExactID, Matcher, MemberOf, OneOf
from finial.core.x509path import VerifiedX509, verify_x509
from finial.core.x509svid import X509SVID
from finial.sdk.address import AddressError
from finial.sdk.handshake import HandshakeRefusedError
from finial.sdk.problems import WorkloadAPIError
from finial.sdk.response import HintError, ResponseError, X509Bundles, X509Context, by_hint
from finial.sdk.source import Picker, Snapshot, SourceError, X509Source, first
from finial.sdk.tls import (
    SVIDSource,
    TrustSource,
    anonymous_client_context,
    client_context,
    open_server_context,
    peer_id,
    peer_of,
    server_context,
)
from finial.sdk.workload import Revoked, Updated, WorkloadClient

__all__ = [
    "ANY_ID",
    "X509SVID",
    "AddressError",
    "AnyID",
    "Bundle",
    "BundleSet",
    "BundleSource",
    "ExactID",
    "FinialError",
    "HandshakeRefusedError",
    "HintError",
    "Matcher",
    "MemberOf",
    "OneOf",
    "Picker",
    "ResponseError",
    "Revoked",
    "SVIDSource",
    "Snapshot",
    "SourceError",
    "SpiffeID",
    "TrustDomain",
    "TrustSource",
    "Updated",
    "VerifiedX509",
    "WorkloadAPIError",
    "WorkloadClient",
    "X509Bundles",
    "X509Context",
    "X509Source",
    "anonymous_client_context",
    "by_hint",
    "client_context",
    "first",
    "open_server_context",
    "peer_id",
    "peer_of",
    "server_context",
    "verify_x509",
]

"""For applications: who am I, whom do I trust, TLS between the two, and tokens; following every rotation.

async with X509Source() as source:  # asks the agent at SPIFFE_ENDPOINT_SOCKET
    context = client_context(source, source, ExactID(SpiffeID("spiffe://example.org/db")))
    reader, writer = await asyncio.open_connection("db.internal", 5432, ssl=context)
    print("talking to", peer_id(writer))

async with JWTSource() as source:
    svid = await source.fetch("reports")  # for the service that calls itself so
    check_bearer_target("https://reports.internal/daily")
    headers = {"Authorization": write_bearer(svid.token)}

async with JWTSource() as source:  # at that service
    print("asked by", source.validate(read_bearer(headers.items()), "reports").id)
"""

from finial.core.bearer import read_bearer, write_bearer
from finial.core.bundle import Bundle, BundleSet, BundleSource
from finial.core.endpoint import AddressError
from finial.core.errors import CarriageError, FinialError, TokenParseError, TokenVerifyError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.jwtsvid import JWTSVID, VerifiedJWT
from finial.core.match import ANY_ID, AnyID, ExactID, Matcher, MemberOf, OneOf
from finial.core.seen_proofs import SeenProofs
from finial.core.target import check_bearer_target
from finial.core.token_authority import TokenAuthority
from finial.core.wit_http import ProofCarrier
from finial.core.wit_http import answer as wit_answer
from finial.core.wit_http import read_fields as read_wit_fields
from finial.core.wit_http import write_fields as write_wit_fields
from finial.core.witsvid import WITSVID, VerifiedWIT
from finial.core.wpt import ProofScope, make_proof
from finial.core.x509path import VerifiedX509, verify_x509
from finial.core.x509svid import X509SVID
from finial.sdk.calls import Revoked, Updated
from finial.sdk.following import SourceError
from finial.sdk.handshake import HandshakeRefusedError
from finial.sdk.problems import WorkloadAPIError
from finial.sdk.response import HintError, ResponseError, by_hint
from finial.sdk.response_jwt import ValidatedJWT
from finial.sdk.response_wit import WITIdentity
from finial.sdk.response_x509 import X509Bundles, X509Context
from finial.sdk.source import Picker, Snapshot, X509Source, first
from finial.sdk.source_jwt import JWTSnapshot, JWTSource
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
from finial.sdk.tokenbundles import JWTBundles, WITBundles
from finial.sdk.workload import WorkloadClient

__all__ = [
    "ANY_ID",
    "JWTSVID",
    "WITSVID",
    "X509SVID",
    "AddressError",
    "AnyID",
    "Bundle",
    "BundleSet",
    "BundleSource",
    "CarriageError",
    "ExactID",
    "FinialError",
    "HandshakeRefusedError",
    "HintError",
    "JWTBundles",
    "JWTSnapshot",
    "JWTSource",
    "Matcher",
    "MemberOf",
    "OneOf",
    "Picker",
    "ProofCarrier",
    "ProofScope",
    "ResponseError",
    "Revoked",
    "SVIDSource",
    "SeenProofs",
    "Snapshot",
    "SourceError",
    "SpiffeID",
    "TokenAuthority",
    "TokenParseError",
    "TokenVerifyError",
    "TrustDomain",
    "TrustSource",
    "Updated",
    "ValidatedJWT",
    "VerifiedJWT",
    "VerifiedWIT",
    "VerifiedX509",
    "WITBundles",
    "WITIdentity",
    "WorkloadAPIError",
    "WorkloadClient",
    "X509Bundles",
    "X509Context",
    "X509Source",
    "anonymous_client_context",
    "by_hint",
    "check_bearer_target",
    "client_context",
    "first",
    "make_proof",
    "open_server_context",
    "peer_id",
    "peer_of",
    "read_bearer",
    "read_wit_fields",
    "server_context",
    "verify_x509",
    "wit_answer",
    "write_bearer",
    "write_wit_fields",
]

"""gRPC over a sans-I/O HTTP/2 engine, server and client: moves bytes, is given codecs, knows no SPIFFE."""

from finial.rpc.client import Channel
from finial.rpc.clientcall import ClientCall
from finial.rpc.limits import LOCAL, Limits, Rate
from finial.rpc.metadata import Metadata
from finial.rpc.method import Method, MethodKind, Route, bidi, client_stream, guarded, server_stream, unary
from finial.rpc.peer import Address, Peer, Tcp, Unix
from finial.rpc.server import Server
from finial.rpc.servercall import ServerCall
from finial.rpc.sockets import ListenError
from finial.rpc.status import RpcError, StatusCode
from finial.rpc.tls import ClientTLS, ServerTLS, TLSError, Verify

__all__ = [
    "LOCAL",
    "Address",
    "Channel",
    "ClientCall",
    "ClientTLS",
    "Limits",
    "ListenError",
    "Metadata",
    "Method",
    "MethodKind",
    "Peer",
    "Rate",
    "Route",
    "RpcError",
    "Server",
    "ServerCall",
    "ServerTLS",
    "StatusCode",
    "TLSError",
    "Tcp",
    "Unix",
    "Verify",
    "bidi",
    "client_stream",
    "guarded",
    "server_stream",
    "unary",
]

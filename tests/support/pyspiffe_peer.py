"""A workload on py-spiffe and spiffe-tls, the twin of peers/spiffepeer: the same orders, the same answers.

Run as a program of its own. The orders are described in peers/spiffepeer/main.go. An SVID's hint is None:
this library does not tell it.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import grpc  # type: ignore[import-untyped] # it comes without types
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from OpenSSL import SSL, crypto
from spiffe import SpiffeId, WorkloadApiClient, X509Source
from spiffe.bundle.x509_bundle.x509_bundle import X509Bundle
from spiffe.svid.x509_svid import X509Svid
from spiffe.workloadapi.x509_context import X509Context
from spiffetls import dial
from spiffetls.context import create_ssl_context
from spiffetls.tlsconfig.authorize import authorize_id

_PATIENCE = 20.0
_RETRY = 0.2  # after a watch has failed

Order = dict[str, Any]
Answer = dict[str, Any]


def words(error: BaseException) -> str:
    """The whole chain of causes, since the library's own words seldom say why."""
    words = []
    cause: BaseException | None = error
    while cause is not None:
        words.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    return " < ".join(words)


def status_code(error: BaseException) -> int:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, grpc.RpcError) and isinstance(cause, grpc.Call):
            return int(cause.code().value[0])
        for code in grpc.StatusCode:
            if str(code) in str(cause):
                return int(code.value[0])
        cause = cause.__cause__
    return int(grpc.StatusCode.UNKNOWN.value[0])


def _certificate(leaf: x509.Certificate) -> Answer:
    issuer = leaf.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value
    assert isinstance(issuer, x509.AuthorityKeyIdentifier)
    return {
        "serial": format(leaf.serial_number, "x"),
        "authority": (issuer.key_identifier or b"").hex(),
        "not_before": int(leaf.not_valid_before_utc.timestamp()),
        "not_after": int(leaf.not_valid_after_utc.timestamp()),
    }


def _refused(svid: X509Svid, bundle: X509Bundle | None) -> str:
    """Why this SVID does not verify under its bundle; empty if it does."""
    store = crypto.X509Store()
    for authority in bundle.x509_authorities if bundle else ():
        store.add_cert(crypto.X509.from_cryptography(authority))
    leaf, *between = (crypto.X509.from_cryptography(each) for each in svid.cert_chain)
    try:
        crypto.X509StoreContext(store, leaf, between).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return ""


def describe(got: X509Context) -> Answer:
    svids = []
    for svid in got.x509_svids:
        bundle = got.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        svids.append(
            _certificate(svid.leaf)
            | {"id": str(svid.spiffe_id), "hint": None, "chain": len(svid.cert_chain)}
            | {"refused": _refused(svid, bundle)}
        )
    bundles = {each.trust_domain.name: len(each.x509_authorities) for each in got.x509_bundle_set.bundles}
    return {"svids": svids, "bundles": bundles}


class _Snapshot:
    """What spiffe-tls asks of a source, at one moment.

    Its own way to follow a source changes certificate and key of a context in use one after the other, so
    that a handshake in between fails, and every context that was ever made stays subscribed. So each
    connection gets a context of its own, made from what the source has then.
    """

    def __init__(self, got: X509Context) -> None:
        self.svid = got.default_svid
        self.bundles = frozenset(got.x509_bundle_set.bundles)

    def subscribe_for_updates(self, callback: Callable[[], None]) -> None:
        """Nothing: this one does not change."""

    @property
    def source(self) -> X509Source:
        """As spiffe-tls declares it; it uses no more than the above."""
        return cast("X509Source", self)


class _Task(Protocol):
    def figures(self, order: Order) -> Answer: ...

    def stop(self) -> None: ...


class _Watching:
    """Every update and every failure of one stream, each kind in the order in which it came."""

    def __init__(self, address: str) -> None:
        self._client = WorkloadApiClient(f"unix://{address}")
        self._grown = threading.Condition()
        self._news: dict[str, list[Answer]] = {"update": [], "failure": []}
        self._stopped = threading.Event()
        self._start()

    def _start(self) -> None:
        # Without its own retries, since it does not tell of the failures in between.
        self._handler = self._client.stream_x509_contexts(self._updated, self._failed, retry_connect=False)

    def _add(self, kind: str, news: Answer) -> None:
        with self._grown:
            self._news[kind].append(news)
            self._grown.notify_all()

    def _updated(self, got: X509Context) -> None:
        self._add("update", describe(got))

    def _failed(self, error: Exception) -> None:
        self._add("failure", {"failure": words(error), "code": status_code(error)})
        if not self._stopped.wait(_RETRY):
            self._start()

    def nth(self, kind: str, number: int) -> Answer:
        """The news of this kind and number, waited for; the test has the deadline."""
        with self._grown:
            self._grown.wait_for(lambda: len(self._news[kind]) >= number)
            return self._news[kind][number - 1]

    def figures(self, order: Order) -> Answer:
        with self._grown:
            return {f"{kind}s": len(news) for kind, news in self._news.items()}

    def stop(self) -> None:
        self._stopped.set()
        self._handler.cancel()


@dataclass
class _Tally:
    """Counts connections and remembers which certificates were seen on them."""

    ok: int = 0
    failed: int = 0
    ended: bool = False
    errors: Counter[str] = field(default_factory=Counter)
    own: set[str] = field(default_factory=set)
    peer: set[str] = field(default_factory=set)
    authorities: set[str] = field(default_factory=set)
    grown: threading.Condition = field(default_factory=threading.Condition)

    def add(self, peer: Answer, own: Answer | None = None) -> None:
        with self.grown:
            self.ok += 1
            self.peer.add(peer["serial"])
            self.authorities.add(peer["authority"])
            if own is not None:
                self.own.add(own["serial"])
                self.authorities.add(own["authority"])
            self.grown.notify_all()

    def fail(self, error: BaseException) -> None:
        with self.grown:
            self.failed += 1
            self.errors[words(error)] += 1
            self.grown.notify_all()

    def figures(self, order: Order) -> Answer:
        """How it stands once there were as many as ordered, or there will be no more."""

        def enough() -> bool:
            tried: bool = self.ok + self.failed >= order.get("count", 0)
            seen: bool = len(self.own) >= order.get("own", 0) and len(self.peer) >= order.get("peer", 0)
            return tried and seen

        with self.grown:
            self.grown.wait_for(lambda: self.ended or enough())
            return {
                "ok": self.ok,
                "failed": self.failed,
                "errors": dict(self.errors),
                "own": len(self.own),
                "peer": len(self.peer),
                "authorities": len(self.authorities),
            }

    def end(self) -> None:
        with self.grown:
            self.ended = True
            self.grown.notify_all()


def _line(conn: SSL.Connection) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += conn.recv(4096)
    return line


def _leaf(conn: SSL.Connection) -> x509.Certificate:
    certificate = conn.get_peer_certificate()
    assert certificate is not None
    return certificate.to_cryptography()


class _Serving(_Tally):
    """A server that answers each line with the caller's ID and the line."""

    def start(self, source: X509Source, order: Order) -> str:
        host, _, port = order["target"].rpartition(":")
        self._source, self._expect = source, SpiffeId(order["expect"])
        self._listener = socket.create_server((host, int(port)), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()
        return "{}:{}".format(*self._listener.getsockname())

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end()

    def _accept(self) -> None:
        for raw in _accepted(self._listener):
            threading.Thread(target=self._echo, args=(raw,), daemon=True).start()

    def _echo(self, raw: socket.socket) -> None:
        with raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(_PATIENCE), 0))
            try:
                snapshot = _Snapshot(self._source.get_x509_context())
                context = create_ssl_context(
                    SSL.TLS_SERVER_METHOD, snapshot.source, authorize_id(self._expect)
                )
                conn = SSL.Connection(context, raw)
                conn.set_accept_state()
                conn.do_handshake()
            except Exception as error:  # noqa: BLE001 - whatever it was, it is counted
                self.fail(error)
                return
            leaf = _leaf(conn)
            self.add(_certificate(leaf))
            try:
                conn.sendall(_uri(leaf).encode() + b" " + _line(conn))
                conn.shutdown()
            except SSL.Error:
                return  # a caller that does not accept us


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            yield listener.accept()[0]
        except OSError:
            return  # stopped


def _uri(leaf: x509.Certificate) -> str:
    names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert isinstance(names, x509.SubjectAlternativeName)
    return names.get_values_for_type(x509.UniformResourceIdentifier)[0]


def _connect(source: X509Source, order: Order) -> Answer:
    """Make one connection and see one line come back: only then has the server accepted us too."""
    snapshot = _Snapshot(source.get_x509_context())
    conn = dial(order["target"], snapshot.source, authorize_fn=authorize_id(SpiffeId(order["expect"])))
    try:
        conn.sendall(order.get("text", "").encode() + b"\n")
        text = _line(conn).decode().removesuffix("\n")
        leaf = _leaf(conn)
    finally:
        conn.close()
    own = _certificate(snapshot.svid.leaf)
    return {"peer_id": _uri(leaf), "peer": _certificate(leaf), "own": own, "text": text}


class _Dialling(_Tally):
    """Makes connections at a fixed pace."""

    def start(self, source: X509Source, order: Order) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(source, order), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self, source: X509Source, order: Order) -> None:
        while not self._stopped.wait(order["every_ms"] / 1000):
            try:
                seen = _connect(source, order)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is counted
                self.fail(error)
            else:
                self.add(seen["peer"], seen["own"])
        self.end()


class _Program:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, str], X509Source] = {}
        self._tasks: dict[str, _Task] = {}

    def _source(self, order: Order) -> X509Source:
        wanted = order.get("as", "")

        def pick(svids: list[X509Svid]) -> X509Svid:
            return next((each for each in svids if str(each.spiffe_id) == wanted), svids[0])

        key = (order["socket"], wanted)
        with self._lock:
            if key not in self._sources:
                self._sources[key] = X509Source(
                    socket_path=f"unix://{order['socket']}", timeout_in_seconds=_PATIENCE, svid_picker=pick
                )
            return self._sources[key]

    def obey(self, order: Order) -> Answer:
        name = order.get("name", "")
        match order["op"]:
            case "fetch":
                with WorkloadApiClient(f"unix://{order['socket']}") as client:
                    return describe(client.fetch_x509_context(timeout=_PATIENCE))
            case "watch":
                self._tasks[name] = _Watching(order["socket"])
                return {}
            case "update" | "failure" as kind:
                watching = self._tasks[name]
                assert isinstance(watching, _Watching)
                return watching.nth(kind, order["number"])
            case "serve":
                self._tasks[name] = serving = _Serving()
                return {"address": serving.start(self._source(order), order)}
            case "call":
                return _connect(self._source(order), order)
            case "dial":
                self._tasks[name] = dialling = _Dialling()
                dialling.start(self._source(order), order)
                return {}
            case "watched" | "served" | "dialled":
                return self._tasks[name].figures(order)
            case "stop":
                self._tasks[name].stop()
                return self._tasks[name].figures({})
            case other:
                raise ValueError(f"no operation {other!r}")


def main() -> None:
    """Obey until standard input ends."""
    program, printing = _Program(), threading.Lock()

    def work(order: Order) -> None:
        try:
            answer = program.obey(order)
        except Exception as error:  # noqa: BLE001 - it goes to the test
            answer = {"error": words(error), "code": status_code(error)}
        with printing:
            print(json.dumps(answer | {"id": order["id"]}), flush=True)

    for line in sys.stdin:
        threading.Thread(target=work, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    main()

"""The SPIFFE libraries of other languages as judges of what we make, and as workloads that fetch it.

Each is a program that takes orders as `PeerProcess` gives them. `judge` asks the library itself; each
question has its own verdict, `ok` and what was found, or `why` not. Bytes are in base64.

    id       text                     spiffe_id, trust_domain, path
    jwt      token, audience, keys    spiffe_id, audience, expires_at, claims; validated with these key sets
    wit      token, keys              spiffe_id, expires_at, kid, key; without proof of possession
    chain    chain, anchors, now      spiffe_id; verified up to one of the anchors, at `now` or, for 0, today
    svid     chain, key               spiffe_id; loaded as the Workload API sends it, and written as PEM
    bundle   trust_domain, document   x509, jwt, wit, sequence, refresh_hint, and the document written of it
    keys     trust_domain, document   jwt; read as the key set that the Workload API has of a trust domain
    anchors  trust_domain, document   x509; read as the certificates that the Workload API has of one
    sign     key, kid, alg, claims    token; made by the library for tokens that the SPIFFE library uses

The other orders are calls of the Workload API; peers/spiffepeer/main.go has their list.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from finial.core import jwk
from finial.core.keys import public_key_der
from support.interop_process import Answer, PeerProcess

_TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Library:
    """One of them.

    Args:
        name: How it is called among its users.
        peer: The name of its program among those that are built; empty when nothing is.
        judges: The questions that it can answer. What is missing, the library does not offer.
        calls: The calls of the Workload API that it has.
        tells_hints: Whether it tells the hints of SVIDs.
        algorithms: By which it validates tokens.
        any_audience: Whether one audience in common is enough for it, as JWT-17 wants.
        pairs_keys: Whether it refuses an X.509-SVID whose key is not the leaf's.
        writes_pem: Whether it writes X.509-SVIDs and authorities as PEM.
    """

    name: str
    peer: str
    judges: frozenset[str]
    calls: frozenset[str]
    tells_hints: bool = True
    algorithms: frozenset[str] = frozenset()
    any_audience: bool = True
    pairs_keys: bool = False
    writes_pem: bool = False

    def command(self, program: Path | None) -> list[str | Path]:
        """What starts it."""
        if program is not None:
            return [program]
        return ["env", f"PYTHONPATH={_TESTS}", sys.executable, "-m", "support.pyspiffe_judge"]


_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EVERY = _RSA | {"ES256", "ES384", "ES512"}
_CALLS = frozenset({"fetch", "tokens", "validate", "token_keys"})
_JUDGES = frozenset({"id", "jwt", "svid", "keys", "anchors"})

GO = Library(
    "go-spiffe",
    "spiffepeer",
    _JUDGES | {"wit", "chain", "bundle", "sign"},
    _CALLS | {"wits", "wit_keys"},
    algorithms=_EVERY,
    pairs_keys=True,
    writes_pem=True,
)
JAVA = Library(
    "java-spiffe",
    "javapeer",
    _JUDGES | {"chain", "sign"},
    _CALLS,
    algorithms=_EVERY,
    any_audience=False,
)
# Its pure Rust backend knows no P-521; chains are verified by another crate.
RUST = Library("rust-spiffe", "rustpeer", _JUDGES, _CALLS, algorithms=_EVERY - {"ES512"})
# It leaves chains to OpenSSL, in another package.
PYTHON = Library(
    "py-spiffe",
    "",
    _JUDGES | {"sign"},
    _CALLS,
    tells_hints=False,
    algorithms=_EVERY,
    writes_pem=True,
)

LIBRARIES = (GO, JAVA, RUST, PYTHON)
"""All of them."""


class Judging(Protocol):
    """Runs a test with a library as its judge."""

    def __call__(self, test: Callable[[Judge], Awaitable[None]], /) -> None:
        """Fails if the test does."""


class Judge(PeerProcess):
    """A running library.

    Args:
        library: Which.
        program: What was built of it; None when nothing is.
    """

    def __init__(self, library: Library, program: Path | None) -> None:
        self.library = library
        super().__init__(*library.command(program))

    async def ask(self, what: str, **fields: Any) -> Answer:
        """The verdict on one question."""
        [found] = await self.ask_all([question(what, **fields)])
        return found

    async def ask_all(self, questions: Iterable[Mapping[str, Any]]) -> list[Answer]:
        """The verdicts on these questions, in their order; all of them have to fit in one line."""
        answer = await self.order("judge", questions=list(questions))
        verdicts: list[Answer] = answer["verdicts"]
        assert not any(each.get("unknown") for each in verdicts), verdicts
        return verdicts

    async def accept(self, what: str, **fields: Any) -> Answer:
        """What it found, having accepted."""
        found = await self.ask(what, **fields)
        assert found["ok"], f"{self.library.name} refuses: {found['why']}"
        return found

    async def refuse(self, what: str, **fields: Any) -> str:
        """Why it refused."""
        found = await self.ask(what, **fields)
        assert not found["ok"], f"{self.library.name} accepts {found}"
        return str(found["why"])


def question(what: str, **fields: Any) -> dict[str, Any]:
    """A question, its bytes made fit for JSON."""
    return {"what": what, **{name: _plain(value) for name, value in fields.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def keys_of(answer: Mapping[str, Any]) -> dict[str, bytes]:
    """Public keys by key id, of an answer that has them in DER or as JWKs."""
    return {
        kid: base64.b64decode(key) if isinstance(key, str) else public_key_der(jwk.read_public(key))
        for kid, key in answer.items()
    }


def data_of(texts: Iterable[str]) -> set[bytes]:
    """The bytes of an answer's texts."""
    return set(map(base64.b64decode, texts))

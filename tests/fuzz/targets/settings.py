"""Files of settings: settings, or every mistake in them, each with its line; nothing else."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.agent.config import AgentSettings
from finial.core.errors import RefusedError
from finial.runtime.config.document import DocumentError, read_document
from finial.runtime.config.load import resolve
from finial.server.config import ServerSettings
from fuzz.target import Target, refused_well

_KEYS = ["trust_domain", "ca_ttl", "bind", "server", "socket", "limits", "limits.max_connections", "nobody"]
_VALUES = [
    '"example.org"',
    '"5m"',
    "-1",
    "1e999",
    "nan",
    '"[::1]:0"',
    "[]",
    "{ a = 1 }",
    "1979-05-27",
    "true",
]


def check(data: bytes) -> None:
    try:
        document = read_document("fuzz.toml", data.decode("utf-8", "replace"))
    except DocumentError as refused:
        assert str(refused).isprintable()
        return
    for cls in (ServerSettings, AgentSettings):
        try:
            resolve(cls, document, {})
        except RefusedError as refused:
            refused_well(refused)


def corpus() -> list[bytes]:
    return [
        b'trust_domain = "example.org"\nca_ttl = "24h"\n[limits]\nmax_connections = 10\n',
        b'server = "127.0.0.1:8081"\n[unix]\ndiscover_path = true\n[plugins.node_attestor.x]\na = 1\n',
        b'trust_domain = """example\n.org"""\nadmin_ids = ["spiffe://a.test/b", 1]\n',
        b"[[plugins]]\n[plugins.a.b]\n",
    ]


def generate(source: random.Random) -> bytes:
    lines = [f"{source.choice(_KEYS)} = {source.choice(_VALUES)}" for _ in range(source.randint(1, 6))]
    return "\n".join(lines).encode()


_PARSER = (
    "finial.runtime.config.document",
    "finial.runtime.config.load",
    "finial.runtime.config.forms",
    "finial.runtime.config.declare",
)
TARGET = Target("settings", corpus, check, generate, budget_s=0.2, modules=_PARSER)

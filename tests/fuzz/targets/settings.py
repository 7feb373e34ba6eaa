"""Files of settings: settings, or every mistake in them, each with its line; nothing else."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.agent.config import AgentSettings
from finial.core.errors import RefusedError
from finial.runtime.config.declare import rows
from finial.runtime.config.document import DocumentError, read_document
from finial.runtime.config.load import resolve
from finial.server.config import ServerSettings
from fuzz.target import Target, refused_well

_CLASSES = (ServerSettings, AgentSettings)
_KEYS = tuple(row.key for cls in _CLASSES for row in rows(cls))
_NO_KEYS = ("nobody", "limits.nobody", "trust_domian", "a.b.c", '"a b"', "''", '"\\u001b"', "[", "a.")
_VALUES = (
    '"example.org"', '"5m"', '"1h30m"', "90", "-1", "0.5", "1e999", "nan", '"[::1]:0"', '"127.0.0.1:8081"',
    '"a:b"', '"::1:1"', '"x:99999"', "[]", '["a.b", "a.b"]', "[1]", "{ a = 1 }", "{ a = { b = [1] } }",
    "1979-05-27", "2026-07-01", '"2026-07-01"', "07:32:00", "true", '"yes"', '"maybe"', '"4MiB"', '"4 MB"',
    '"9999999999h"', '""', '"~nobody/x"', '"a\\u0000b"', '"\\u001b[0m"', "'''\n'''", '"ec-p256"', '"ec-p257"',
    '"spiffe://a.test/x"', '["spiffe://a.test/x", "b"]', f'"/{"x" * 200}"', f'"/\\u001b{"x" * 200}"',
    '"/run/a.sock"', "9" * 5000,
)  # fmt: skip


def check(data: bytes) -> None:
    try:
        document = read_document("fuzz.toml", data.decode("utf-8", "replace"))
    except DocumentError as refused:
        assert str(refused).isprintable()
        assert refused.line >= 0
        return
    lines = data.count(b"\n") + 1
    assert all(1 <= line <= lines for line in document.lines.values())
    for cls in _CLASSES:
        try:
            found = resolve(cls, document, {})
        except RefusedError as refused:
            refused_well(refused)
        else:
            assert all(warning.isprintable() for warning in found.warnings)
            assert repr(found.settings) == repr(resolve(cls, document, {}).settings)


def corpus() -> list[bytes]:
    return [
        b'trust_domain = "example.org"\nca_ttl = "24h"\n[limits]\nmax_connections = 10\n',
        b'trust_domain = "example.org"\nserver = "127.0.0.1:8081"\n[plugins.node_attestors.x]\na = 1\n',
        b'server = "127.0.0.1:8081"\n[unix]\ndiscover_path = true\n[plugins.node_attestor.x]\na = 1\n',
        b'trust_domain = """example\n.org"""\nadmin_ids = ["spiffe://a.test/b", 1]\n',
        b"[[plugins]]\n[plugins.a.b]\n[[plugins]]\na = [ # x\n 1,\n]\n",
        b"a.b = 1\n[a.c]\n'd' = '''\n[x]\n'''\n",
        b"",
    ]


def generate(source: random.Random) -> bytes:
    """Settings that there are, mostly with values of another one's form."""
    given = {"trust_domain": '"example.org"', "server": '"127.0.0.1:8081"'} if source.random() < 0.5 else {}
    for _ in range(source.choice((0, 1, 1, 2, 5))):
        keys = _KEYS if source.random() < 0.9 else _NO_KEYS
        given[source.choice(keys)] = source.choice(_VALUES)
    text = "\n".join(f"{key} = {value}" for key, value in given.items())
    return (
        text + source.choice(("", "\n[limits]\n", "\n[[a]]\n[[a]]\nb = 1", "\n[plugins.a.b]\nc = 1"))
    ).encode()


_PARSER = (
    "finial.runtime.config.document",
    "finial.runtime.config.load",
    "finial.runtime.config.forms",
    "finial.runtime.config.declare",
)
# What declares settings and writes them, and what reads files.
_OMITS = (
    "read_file", "load", "write_size", "revision", "form_of", "Row.default_shown", "setting", "settings",
    "rows",
)  # fmt: skip
TARGET = Target("settings", corpus, check, generate, budget_s=0.2, modules=_PARSER, omits=_OMITS)

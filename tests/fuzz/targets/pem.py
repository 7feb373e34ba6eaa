"""PEM text: the blocks in it, as another reader finds them, or one refusal that quotes no key."""

from __future__ import annotations

import base64
import random  # noqa: TID251 - seeded

from finial.core import pem
from finial.core.errors import PEMError
from finial.core.keys import write_private_key
from fuzz import stock
from fuzz.target import Target, refused_well

_LABELS = ("CERTIFICATE", "CERTIFICATE", "PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "", "X\x1b[0m")
_LINES = (
    "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "-----BEGIN ", "-----", "AAAA", "AAA=",
    "AA==", "A", "", "some text", "-----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", "\u00e9",
)  # fmt: skip


def check(data: bytes) -> None:
    # A label has no small letters, and a key some.
    secret = [word for word in data.decode("latin-1").split() if not word.isupper() and "-" not in word]
    try:
        blocks = pem.read_blocks(data)
    except PEMError as refused:
        refused_well(refused, *secret)
        return
    written = b"".join(pem.write(block.label, [block.der]) for block in blocks if block.label.isascii())
    again = pem.read_blocks(written)
    assert again == tuple(block for block in blocks if block.label.isascii())
    for block in blocks:
        assert base64.b64encode(block.der)[:8] in b"".join(data.split())
        assert repr(block).isprintable()
    for read in (pem.read_certificates, pem.read_private_key):
        try:
            found = read(data)
        except PEMError as refused:
            refused_well(refused, *secret)
            continue
        label = pem.CERTIFICATE if isinstance(found, tuple) else pem.PRIVATE_KEY
        held = tuple(block.der for block in blocks if block.label == label)
        assert held == (found if isinstance(found, tuple) else (found,))


def corpus() -> list[bytes]:
    certificate = pem.write(pem.CERTIFICATE, [stock.root().der])
    key = pem.write(pem.PRIVATE_KEY, [write_private_key(stock.key("leaf"))])
    return [
        certificate,
        key,
        certificate + key + certificate,
        b"text\n" + certificate.replace(b"\n", b"\r\n"),
        b"",
    ]


def generate(source: random.Random) -> bytes:
    if source.random() < 0.3:
        return "\n".join(source.choice(_LINES) for _ in range(source.randint(0, 8))).encode()
    blocks = []
    for _ in range(source.randint(0, 4)):
        label = source.choice(_LABELS)
        text = pem.write(label, [source.randbytes(source.randint(0, 60))])
        blocks.append(text.replace(b"END ", b"END X", 1) if source.random() < 0.1 else text)
    return source.choice((b"", b"\n", b"junk\n", b"-----")).join(blocks)


_PARSER = ("finial.core.pem",)
TARGET = Target("pem", corpus, check, generate, modules=_PARSER)

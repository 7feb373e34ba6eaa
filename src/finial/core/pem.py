"""PEM text to DER and back: certificates and unencrypted PKCS#8 keys."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from finial.core.errors import PEMError, shown
from finial.core.reasons import keys as reasons

CERTIFICATE = "CERTIFICATE"
PRIVATE_KEY = "PRIVATE KEY"
MAX_PEM_BYTES = 4 << 20

_BEGIN = b"-----BEGIN "
_END = b"-----END "
_DASHES = b"-----"
_LINE = 64
_WHITESPACE = b" \t\r\n"
_USUAL = re.compile(r"[A-Z0-9 ]{1,40}")


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block.

    Args:
        label: What its BEGIN line says.
        der: What it encloses; a private key among it, so it is kept out of the representation.
    """

    label: str
    der: bytes

    def __repr__(self) -> str:
        return f"Block(label={self.label!r}, {len(self.der)} bytes)"


def read_blocks(data: bytes) -> tuple[Block, ...]:
    """Every PEM block in the data; text around the blocks is passed over.

    Args:
        data: At most 4 MiB.

    Raises:
        PEMError: Too large, cut off, labels that do not agree, or not base64.
    """
    if len(data) > MAX_PEM_BYTES:
        raise PEMError.because(
            reasons.PEM_LARGE, f"PEM of {len(data)} bytes, at most {MAX_PEM_BYTES} are read"
        )
    blocks: list[Block] = []
    at = data.find(_BEGIN)
    while at >= 0:
        block, end = _read_block(data, at + len(_BEGIN))
        blocks.append(block)
        at = data.find(_BEGIN, end)
    return tuple(blocks)


def read_certificates(data: bytes) -> tuple[bytes, ...]:
    """The DER of every certificate in the data, at least one, in order; other blocks are passed over.

    Raises:
        PEMError: As `read_blocks`, or there is no certificate.
    """
    found = tuple(block.der for block in read_blocks(data) if block.label == CERTIFICATE)
    if not found:
        raise PEMError.because(reasons.PEM_LABEL, "no CERTIFICATE block")
    return found


def read_private_key(data: bytes) -> bytes:
    """The PKCS#8 DER of the one private key in the data; other blocks are passed over.

    Raises:
        PEMError: As `read_blocks`, or there is not exactly one.
    """
    blocks = read_blocks(data)
    found = [block.der for block in blocks if block.label == PRIVATE_KEY]
    if len(found) != 1:
        labels = ", ".join(sorted({_named(block.label) for block in blocks})) or "no blocks"
        message = f"{len(found)} PRIVATE KEY blocks where one belongs; found {labels}"
        raise PEMError.because(reasons.PEM_LABEL, message)
    return found[0]


def write(label: str, ders: Iterable[bytes]) -> bytes:
    """PEM blocks of one label, 64 characters to the line, each ending with a newline."""
    return b"".join(_write_block(label, der) for der in ders)


def _write_block(label: str, der: bytes) -> bytes:
    text = base64.b64encode(der).decode("ascii")
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode("ascii")


def _read_block(data: bytes, at: int) -> tuple[Block, int]:
    label_end = data.find(_DASHES, at)
    stop = data.find(_END, at)
    if label_end < 0 or stop < label_end:
        raise PEMError.because(reasons.PEM_MALFORMED, "a PEM block has a BEGIN line without END")
    label = data[at:label_end]
    tail = _END + label + _DASHES
    if not data.startswith(tail, stop):
        message = f"the END line of the PEM block {_named(label.decode('latin-1'))} names another"
        raise PEMError.because(reasons.PEM_MALFORMED, message)
    body = data[label_end + len(_DASHES) : stop].translate(None, _WHITESPACE)
    try:
        der = base64.b64decode(body, validate=True)
    except binascii.Error as caught:
        message = f"PEM block {_named(label.decode('latin-1'))} is not base64"
        raise PEMError.because(reasons.PEM_MALFORMED, message) from caught
    return Block(label.decode("latin-1"), der), stop + len(tail)


def _named(label: str) -> str:
    # Behind a BEGIN line without its dashes the label would go on into the key.
    return shown(label) if _USUAL.fullmatch(label) else "of an odd label"

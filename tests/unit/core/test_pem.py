from __future__ import annotations

import pytest

from finial.core import pem
from finial.core.errors import PEMError

KEY_BLOCK = pem.write(pem.PRIVATE_KEY, [b"secret"])


def reason(call: object, data: bytes) -> str:
    with pytest.raises(PEMError) as caught:
        call(data)  # type: ignore[operator]
    return caught.value.reason.id


def test_round_trip() -> None:
    ders = [b"", b"x", bytes(range(256))]
    text = pem.write(pem.CERTIFICATE, ders)
    assert pem.read_certificates(text) == tuple(ders)
    assert max(map(len, text.splitlines())) == 64
    assert text.endswith(b"-----END CERTIFICATE-----\n")


def test_text_around_blocks_and_other_blocks_are_passed_over() -> None:
    text = (
        b"Subject: a\r\n" + pem.write(pem.CERTIFICATE, [b"one"]).replace(b"\n", b"\r\n") + b"\n" + KEY_BLOCK
    )
    assert pem.read_certificates(text) == (b"one",)
    assert pem.read_private_key(text) == b"secret"
    assert pem.read_blocks(b"nothing here") == ()


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE",
        b"-----BEGIN CERT\n-----END CERT-----",
    ],
)
def test_broken_text(text: bytes) -> None:
    assert reason(pem.read_blocks, text) == "pem-malformed"


def test_what_was_asked_for_is_missing() -> None:
    assert reason(pem.read_certificates, KEY_BLOCK) == "pem-label"
    assert reason(pem.read_private_key, KEY_BLOCK + KEY_BLOCK) == "pem-label"
    assert reason(pem.read_private_key, b"") == "pem-label"


@pytest.mark.parametrize(
    "text",
    [
        KEY_BLOCK.replace(b"KEY-----\n", b"KEY----\n", 1),
        KEY_BLOCK.replace(b"KEY-----\n", b"KEY\n", 1),
        b"-----BEGIN c2VjcmV0-----\n!\n-----END c2VjcmV0-----\n",
        b"-----BEGIN c2VjcmV0-----\nAAAA\n-----END c2VjcmV0-----\n",
    ],
)
def test_a_key_where_the_label_should_be_is_not_quoted(text: bytes) -> None:
    with pytest.raises(PEMError) as caught:
        pem.read_private_key(text)
    assert "c2Vj" not in str(caught.value)  # the key in base64


def test_too_large() -> None:
    assert reason(pem.read_blocks, b"x" * (pem.MAX_PEM_BYTES + 1)) == "pem-large"


def test_a_block_never_shows_its_content() -> None:
    (block,) = pem.read_blocks(KEY_BLOCK)
    assert repr(block) == "Block(label='PRIVATE KEY', 6 bytes)"

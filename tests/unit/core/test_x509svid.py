from __future__ import annotations

import pytest

from finial.core import pem
from finial.core.errors import FinialError, KeyRefusedError, X509ParseError
from finial.core.x509svid import X509SVID
from support import forge

ROOT = forge.root()
INTER = forge.authority("inter", ROOT)
LEAF = forge.leaf(INTER)


def reason(chain: list[bytes] | bytes, key: bytes | None = None) -> str:
    with pytest.raises(FinialError) as caught:
        X509SVID.from_der(chain, key)
    return caught.value.reason.id


def test_der_and_pem_give_the_same() -> None:
    svid = X509SVID.from_der([LEAF.der, INTER.der], LEAF.key_der, hint="internal")
    assert svid.id.text == forge.WEB
    assert svid.expires_at == forge.NOW + forge.DAY
    assert svid.hint == "internal"
    assert X509SVID.from_der(LEAF.der + INTER.der, LEAF.key_der, hint="internal") == svid
    assert X509SVID.from_pem(svid.chain_pem(), svid.key_pem(), hint="internal") == svid
    together = svid.key_pem() + svid.chain_pem()
    assert X509SVID.from_pem(together, together, hint="internal").key_der() == LEAF.key_der
    assert svid.chain_der() == (LEAF.der, INTER.der)


def test_the_key_is_neither_compared_nor_shown() -> None:
    svid = X509SVID.from_der([LEAF.der], LEAF.key_der)
    assert svid == X509SVID.from_der([LEAF.der])
    assert hash(svid) == hash(X509SVID.from_der([LEAF.der]))
    assert "key" not in repr(svid).lower()


def test_an_svid_without_key_gives_none() -> None:
    with pytest.raises(KeyRefusedError):
        X509SVID.from_der([LEAF.der]).key_der()


def test_what_is_refused() -> None:
    assert reason([]) == "x509-no-certificate"
    assert reason(b"") == "x509-no-certificate"
    assert reason([LEAF.der] * 17) == "x509-chain-long"
    assert reason([LEAF.der], forge.root("other").key_der) == "key-mismatch"
    assert reason([LEAF.der], b"x") == "key-malformed"
    assert reason([LEAF.der, b"x"]) == "x509-malformed"
    assert reason([LEAF.der, LEAF.der]) == "x509-not-ca"
    weak = forge.leaf(ROOT, own_key=forge.key("weak", "rsa-1024"))
    assert reason([weak.der]) == "key-weak"


def test_every_fault_is_named() -> None:
    bad = forge.leaf(ROOT, "spiffe://a.test", ca=True, usages=("keyCertSign",))
    with pytest.raises(X509ParseError) as caught:
        X509SVID.from_der([bad.der])
    found = [finding.reason.id for finding in caught.value.findings]
    assert found == ["x509-root-id", "x509-leaf-is-ca", "x509-leaf-signs", "x509-leaf-key-usage"]


def test_pem_without_the_blocks() -> None:
    with pytest.raises(FinialError):
        X509SVID.from_pem(pem.write(pem.PRIVATE_KEY, [b""]))

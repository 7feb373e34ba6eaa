"""The exam that every key manager sits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from finial.core.errors import FinialError
from finial.core.keys import KeyType, PrivateKey, public_key_der
from finial.plugin.keys import GuardedKeyManager, KeyManager
from finial.plugins.keys.disk import DiskKeyManager
from support.fake_keys import MemoryKeyManager

# 4096 bits take seconds to make, by the code that makes 2048.
KEY_TYPES = [kind for kind in KeyType if kind is not KeyType.RSA_4096]

Reopen = Callable[[], KeyManager]
"""Gives the key manager anew, as a restart of the server does."""


@pytest.fixture(params=["disk", "disk, guarded", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    match request.param:
        case "disk":
            return lambda: DiskKeyManager(tmp_path / "keys")
        case "disk, guarded":
            return lambda: GuardedKeyManager(DiskKeyManager(tmp_path / "keys"), "keymanager(disk)")
    memory = MemoryKeyManager()
    return lambda: memory


def public(key: PrivateKey | None) -> bytes:
    assert key is not None
    return public_key_der(key.public_key())


def prove(key: PrivateKey) -> None:
    """Raise unless the key signs what its public half verifies."""
    match key:
        case ec.EllipticCurvePrivateKey():
            signature = key.sign(b"data", ec.ECDSA(hashes.SHA256()))
            key.public_key().verify(signature, b"data", ec.ECDSA(hashes.SHA256()))
        case rsa.RSAPrivateKey():
            signature = key.sign(b"data", padding.PKCS1v15(), hashes.SHA256())
            key.public_key().verify(signature, b"data", padding.PKCS1v15(), hashes.SHA256())
        case _:
            pytest.fail("a key that no key type names")


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_a_key_is_of_the_kind_ordered_and_signs(reopen: Reopen, kind: KeyType) -> None:
    async def exam() -> None:
        keys = reopen()
        key = await keys.generate("one", kind)
        assert KeyType.of(key) is kind
        prove(key)
        again = await keys.get("one")
        assert public(again) == public(key)

    asyncio.run(exam())


def test_a_key_is_there_after_a_restart(reopen: Reopen) -> None:
    async def exam() -> None:
        key = await reopen().generate("one", KeyType.EC_P256)
        keys = reopen()
        again = await keys.get("one")
        assert again is not None
        assert public(again) == public(key)
        prove(again)
        assert await keys.ids() == {"one"}

    asyncio.run(exam())


def test_what_is_not_there(reopen: Reopen) -> None:
    async def exam() -> None:
        keys = reopen()
        assert await keys.get("none") is None
        assert await keys.ids() == frozenset()
        await keys.delete("none")

    asyncio.run(exam())


def test_a_deleted_key_is_gone_after_a_restart_too(reopen: Reopen) -> None:
    async def exam() -> None:
        keys = reopen()
        await keys.generate("one", KeyType.EC_P256)
        await keys.generate("two", KeyType.EC_P256)
        await keys.delete("one")
        for manager in (keys, reopen()):
            assert await manager.get("one") is None
            assert await manager.ids() == {"two"}

    asyncio.run(exam())


def test_a_new_key_replaces_the_one_with_its_id(reopen: Reopen) -> None:
    async def exam() -> None:
        keys = reopen()
        first = await keys.generate("one", KeyType.EC_P256)
        second = await keys.generate("one", KeyType.EC_P384)
        assert public(await reopen().get("one")) == public(second) != public(first)
        assert await keys.ids() == {"one"}

    asyncio.run(exam())


def test_many_at_once(reopen: Reopen) -> None:
    async def exam() -> None:
        keys = reopen()
        names = [f"key-{number % 4}" for number in range(12)]
        made = await asyncio.gather(*(keys.generate(name, KeyType.EC_P256) for name in names))
        assert await keys.ids() == set(names)
        for name in set(names):
            own = {public(key) for key, of in zip(made, names, strict=True) if of == name}
            assert public(await keys.get(name)) in own

    asyncio.run(exam())


@pytest.mark.parametrize(
    "key_id", ["", "..", "../x", "a/b", "a.b", ".a", "A", "a\n", "a\0", "-a", "é", "a" * 65]
)
def test_a_dangerous_id_is_refused(reopen: Reopen, key_id: str) -> None:
    async def exam() -> None:
        keys = reopen()
        for call in (keys.generate(key_id, KeyType.EC_P256), keys.get(key_id), keys.delete(key_id)):
            with pytest.raises(FinialError, match="key id .* is malformed"):
                await call
        assert await keys.ids() == frozenset()

    asyncio.run(exam())


def test_the_longest_id(reopen: Reopen) -> None:
    async def exam() -> None:
        longest = "x509-ca_" + "0" * 56
        await reopen().generate(longest, KeyType.EC_P256)
        assert await reopen().ids() == {longest}

    asyncio.run(exam())

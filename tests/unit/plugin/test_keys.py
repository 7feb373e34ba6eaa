from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from finial.core.ids import TrustDomain
from finial.core.keys import KeyType
from finial.plugin.catalog import PluginContext
from finial.plugin.guard import PluginError
from finial.plugin.keys import KEY_MANAGERS, GuardedKeyManager, KeyIDError
from support import forge
from support.clock import FixedChance, ManualClock
from support.fake_keys import MemoryKeyManager
from support.strikes import Strikes, failed


class Odd(MemoryKeyManager):
    """Answers with whatever it was given."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer: Any = answer

    async def generate(self, key_id: str, key_type: KeyType) -> Any:
        return self.answer

    async def get(self, key_id: str) -> Any:
        return self.answer

    async def ids(self) -> Any:
        return self.answer


def guard(answer: object) -> GuardedKeyManager:
    return GuardedKeyManager(Odd(answer), "keymanager(odd)")


@pytest.mark.parametrize("answer", [None, b"key", forge.key("leaf", "ec-p384"), forge.key("leaf", "ed25519")])
def test_another_key_than_the_one_ordered(answer: object) -> None:
    message = r"^keymanager\(odd\): generated something else than a key of type ec-p256$"
    with pytest.raises(PluginError, match=message):
        asyncio.run(guard(answer).generate("one", KeyType.EC_P256))


def test_something_else_than_a_key() -> None:
    with pytest.raises(
        PluginError, match=r"^keymanager\(odd\): returned something else than a private key as one$"
    ):
        asyncio.run(guard(forge.key().public_key()).get("one"))
    with pytest.raises(PluginError, match=r"^keymanager\(odd\): returned something else than a frozenset"):
        asyncio.run(guard({"one"}).ids())
    with pytest.raises(PluginError, match=r"^keymanager\(odd\): returned something else than a frozenset"):
        asyncio.run(guard(frozenset({1})).ids())


def test_what_is_right_passes() -> None:
    async def calls() -> None:
        inner = MemoryKeyManager()
        keys = GuardedKeyManager(inner, "keymanager(memory)")
        key = await keys.generate("one", KeyType.EC_P256)
        assert await keys.get("one") is key
        assert await keys.get("two") is None
        assert await keys.ids() == {"one"}
        await keys.delete("one")
        assert not inner.keys

    asyncio.run(calls())


def test_a_failure_says_whose_it_is() -> None:
    inner = MemoryKeyManager()
    keys = GuardedKeyManager(inner, "keymanager(memory)")
    for call, moment in ((keys.get("one"), "get"), (keys.ids(), "ids"), (keys.delete("one"), "delete")):
        inner.strikes = Strikes(0, what=failed)
        with pytest.raises(PluginError, match=rf"^keymanager\(memory\): struck before {moment}$"):
            asyncio.run(call)


def test_a_malformed_id_does_not_reach_the_plugin() -> None:
    keys = guard(forge.key())
    for call in (keys.generate("../x", KeyType.EC_P256), keys.get("../x"), keys.delete("../x")):
        with pytest.raises(KeyIDError, match=r"^key id '../x' is malformed$"):
            asyncio.run(call)


def test_something_else_than_a_key_manager(tmp_path: Path) -> None:
    context = PluginContext(
        trust_domain=TrustDomain("a.test"), clock=ManualClock(), chance=FixedChance(), data_dir=tmp_path
    )
    assert isinstance(KEY_MANAGERS.guard(MemoryKeyManager(), "memory", context), GuardedKeyManager)
    with pytest.raises(PluginError, match=r"^keymanager\(odd\): made a int, which is no key manager$"):
        KEY_MANAGERS.guard(7, "odd", context)

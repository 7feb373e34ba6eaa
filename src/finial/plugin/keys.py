"""Key managers: who makes and keeps the private keys of a server's authorities."""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

from finial.core.errors import FinialError, Kind, Reason, shown
from finial.core.keys import KeyType, PrivateKey
from finial.plugin.catalog import Cardinality, Group, PluginContext
from finial.plugin.guard import guarded, wrong

_KEY_ID = re.compile("[a-z0-9][a-z0-9_-]{0,63}")
_KEY_ID_FORM = Reason("key-id", Kind.INVALID, hint="Use 1 to 64 of a-z 0-9 _ -, a letter or digit first.")


class KeyIDError(FinialError):
    """A name that no key can have."""


@runtime_checkable
class KeyManager(Protocol):
    """Makes keys and keeps them by their ids."""

    async def generate(self, key_id: str, key_type: KeyType) -> PrivateKey:
        """Make a key; it is durable when this returns, and a key that had the id before is gone.

        Args:
            key_id: 1 to 64 of `a-z 0-9 _ -`, a letter or digit first.
            key_type: What kind of key.

        Raises:
            FinialError: The id has another form, or the key cannot be made or kept; a key that had the id
                before is then still there.
        """

    async def get(self, key_id: str) -> PrivateKey | None:
        """The key with this id; None when there is none.

        Raises:
            FinialError: There is one, but it cannot be read.
        """

    async def ids(self) -> frozenset[str]:
        """The ids of all keys, of unreadable ones too."""

    async def delete(self, key_id: str) -> None:
        """Forget a key, durably; nothing when it is not there."""


def check_key_id(key_id: str) -> None:
    """Return when a key may have this id; file names are made of ids, so nothing else may pass.

    Raises:
        KeyIDError: It may not.
    """
    if not _KEY_ID.fullmatch(key_id):
        raise KeyIDError(_KEY_ID_FORM, f"key id {shown(key_id)} is malformed", subject=shown(key_id))


class GuardedKeyManager:
    """A key manager whose answers are checked and whose errors say whose they are.

    Args:
        inner: The plugin.
        owner: Its kind and name.
    """

    def __init__(self, inner: KeyManager, owner: str) -> None:
        self._inner = inner
        self._owner = owner

    async def generate(self, key_id: str, key_type: KeyType) -> PrivateKey:
        """Make a key, of the kind that was ordered."""
        check_key_id(key_id)
        with guarded(self._owner):
            key: object = await self._inner.generate(key_id, key_type)
        if not isinstance(key, PrivateKey) or KeyType.of(key) is not key_type:
            raise wrong(self._owner, f"generated something else than a key of type {key_type}")
        return key

    async def get(self, key_id: str) -> PrivateKey | None:
        """The key with this id; None when there is none."""
        check_key_id(key_id)
        with guarded(self._owner):
            key: object = await self._inner.get(key_id)
        if key is not None and not isinstance(key, PrivateKey):
            raise wrong(self._owner, f"returned something else than a private key as {key_id}")
        return key

    async def ids(self) -> frozenset[str]:
        """The ids of all keys."""
        with guarded(self._owner):
            found: object = await self._inner.ids()
        if not isinstance(found, frozenset) or not all(isinstance(key_id, str) for key_id in found):
            raise wrong(self._owner, "returned something else than a frozenset of key ids")
        return found

    async def delete(self, key_id: str) -> None:
        """Forget a key."""
        check_key_id(key_id)
        with guarded(self._owner):
            await self._inner.delete(key_id)


def _guard(made: object, name: str, _context: PluginContext) -> KeyManager:
    owner = KEY_MANAGERS.owner(name)
    if not isinstance(made, KeyManager):
        raise wrong(owner, f"made a {type(made).__name__}, which is no key manager")
    return GuardedKeyManager(made, owner)


KEY_MANAGERS: Group[KeyManager] = Group(
    name="finial.key_managers", label="keymanager", cardinality=Cardinality.ONE, guard=_guard
)
"""Exactly one of these keeps a server's keys."""

"""Keys as files: `private/keys/<id>.pem` below the data folder, unencrypted PKCS#8, for their owner alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from finial.core import pem
from finial.core.errors import FinialError, Kind, Reason, RefusedError, shown
from finial.core.keys import KeyType, PrivateKey, read_private_key, write_private_key
from finial.plugin.catalog import PluginContext
from finial.plugin.keys import KeyIDError, check_key_id
from finial.runtime import files

_SUFFIX = ".pem"
_EXPONENT = 65537
_DAMAGED = Reason(
    "key-file-damaged",
    Kind.UNAVAILABLE,
    hint="Restore the file from a backup, or delete it: a new key then takes its place.",
)
_SETTINGS = Reason("key-disk-settings", Kind.INVALID, hint="Remove them from the configuration.")


class DiskError(FinialError):
    """The key manager's settings or one of its files cannot be used."""


class DiskKeyManager:
    """Keeps each key in a file of its own, which is written whole or not at all.

    Args:
        folder: Where; made with mode 0700 when it is missing.

    Raises:
        FileError: The folder cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = files.folder(folder)
        # Held in worker threads only: two writers of one key would meet in its temporary file.
        self._writing = threading.Lock()
        for left in self._names(f".*{_SUFFIX}.new"):
            files.remove(left)  # a kill came before it had its name: nobody was told of that key

    async def generate(self, key_id: str, key_type: KeyType) -> PrivateKey:
        """Make a key; it is on the disk when this returns."""
        path = self._path(key_id)

        def make() -> PrivateKey:
            key = _generate(key_type)
            data = pem.write(pem.PRIVATE_KEY, [write_private_key(key)])
            with self._writing:
                files.write(path, data)
            return key

        return await asyncio.to_thread(make)

    async def get(self, key_id: str) -> PrivateKey | None:
        """The key with this id; None when there is no file of that name.

        Raises:
            FileError: The file cannot be read.
            DiskError: What it holds is not one private key. The message says nothing of the content.
        """
        return await asyncio.to_thread(_read, self._path(key_id))

    async def ids(self) -> frozenset[str]:
        """The ids of all keys; files that no key can have made are passed over."""
        found = await asyncio.to_thread(self._names, f"*{_SUFFIX}")
        return frozenset(path.stem for path in found if _possible(path.stem))

    async def delete(self, key_id: str) -> None:
        """Remove the key's file; nothing when it is not there."""
        path = self._path(key_id)

        def remove() -> None:
            with self._writing:
                files.remove(path)

        await asyncio.to_thread(remove)

    def _path(self, key_id: str) -> Path:
        check_key_id(key_id)
        return self._folder / f"{key_id}{_SUFFIX}"

    def _names(self, pattern: str) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.match(pattern)]
        except OSError as error:
            raise files.failed("list", self._folder, error) from error


def create(settings: Mapping[str, object], context: PluginContext) -> DiskKeyManager:
    """The factory that the catalog calls. There are no settings.

    Raises:
        DiskError: There are some all the same.
        FileError: The folder cannot be made or read.
    """
    if settings:
        names = ", ".join(map(shown, sorted(settings)))
        raise DiskError(_SETTINGS, f"there are no such settings: {names}")
    return DiskKeyManager(files.folder(context.data_dir / "private") / "keys")


def _generate(key_type: KeyType) -> PrivateKey:
    match key_type:
        case KeyType.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.RSA_2048:
            return rsa.generate_private_key(_EXPONENT, 2048)
        case KeyType.RSA_4096:
            return rsa.generate_private_key(_EXPONENT, 4096)


def _read(path: Path) -> PrivateKey | None:
    data = files.read_if_there(path)
    if data is None:
        return None
    try:
        return read_private_key(pem.read_private_key(data))
    except RefusedError as error:
        # Neither its message nor itself goes on: it quotes labels, which in a damaged file can be anything.
        message = f"the key file {path} does not hold one unencrypted private key ({error.reason.id})"
        raise DiskError(_DAMAGED, message, subject=str(path)) from None


def _possible(key_id: str) -> bool:
    try:
        check_key_id(key_id)
    except KeyIDError:
        return False
    return True

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from finial.core.errors import FinialError, Kind
from finial.core.ids import TrustDomain
from finial.core.keys import KeyType, public_key_der
from finial.plugin.catalog import PluginContext
from finial.plugin.keys import KeyManager
from finial.plugins.keys.disk import DiskError, DiskKeyManager, create
from finial.runtime.files import FileError
from support.clock import FixedChance, ManualClock
from support.strikes import Killed, Strikes


def context(data_dir: Path) -> PluginContext:
    return PluginContext(
        trust_domain=TrustDomain("a.test"), clock=ManualClock(), chance=FixedChance(), data_dir=data_dir
    )


def refusal(keys: DiskKeyManager, key_id: str) -> FinialError:
    with pytest.raises(FinialError) as caught:
        asyncio.run(keys.get(key_id))
    return caught.value


def test_only_their_owner_may_look_at_files_and_folders(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        manager = create({}, context(tmp_path))
        asyncio.run(manager.generate("one", KeyType.EC_P256))
    finally:
        os.umask(before)
    private = tmp_path / "private"
    file = private / "keys" / "one.pem"
    assert [path.stat().st_mode & 0o777 for path in (private, file.parent, file)] == [0o700, 0o700, 0o600]
    assert [path.name for path in file.parent.iterdir()] == ["one.pem"]
    assert file.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert isinstance(manager, KeyManager)


def test_there_are_no_settings(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"no such settings: 'keys_path', 'x'") as caught:
        create({"x": 1, "keys_path": "secret"}, context(tmp_path))
    assert caught.value.reason.kind is Kind.INVALID
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "private").exists()


def test_what_a_kill_left_is_no_key_and_goes_away(tmp_path: Path) -> None:
    manager = DiskKeyManager(tmp_path)
    asyncio.run(manager.generate("one", KeyType.EC_P256))
    left = tmp_path / ".one.pem.new"
    left.write_bytes(b"half a key")
    assert asyncio.run(manager.ids()) == {"one"}
    assert asyncio.run(manager.get("one")) is not None
    asyncio.run(DiskKeyManager(tmp_path).ids())
    assert not left.exists()


def test_a_kill_while_a_key_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = DiskKeyManager(tmp_path)
    asyncio.run(manager.generate("one", KeyType.EC_P256))
    before = (tmp_path / "one.pem").read_bytes()

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(FileError, match=r"cannot write .*one\.pem: No space left on device"):
            asyncio.run(manager.generate("one", KeyType.EC_P256))
    assert (tmp_path / "one.pem").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["one.pem"]


@pytest.mark.parametrize("moment", range(13))
def test_a_kill_between_any_two_calls_of_the_system_leaves_a_whole_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    manager = DiskKeyManager(tmp_path)
    old = public_key_der(asyncio.run(manager.generate("one", KeyType.EC_P256)).public_key())
    strikes = Strikes(moment)

    def struck(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            strikes(f"before {call.__name__}")
            result = call(*args)
            strikes(f"after {call.__name__}")
            return result

        return wrapped

    with monkeypatch.context() as patch:
        for owner, name in ((os, "open"), (os, "fchmod"), (os, "fsync"), (Path, "replace")):
            patch.setattr(owner, name, struck(getattr(owner, name)))
        new = None
        with contextlib.suppress(Killed):
            new = public_key_der(asyncio.run(manager.generate("one", KeyType.EC_P256)).public_key())
    assert (new is None) == (len(strikes.moments) == moment + 1)
    again = DiskKeyManager(tmp_path)
    key = asyncio.run(again.get("one"))
    assert key is not None
    found = public_key_der(key.public_key())
    renamed = "after replace" in strikes.moments
    assert (found != old) == renamed
    assert new in {None, found}
    assert [path.name for path in tmp_path.iterdir()] == ["one.pem"]


def test_files_that_are_no_keys_are_passed_over(tmp_path: Path) -> None:
    for name in ("README", "Upper.pem", "a b.pem", ".pem", "x.pem.bak"):
        (tmp_path / name).write_bytes(b"")
    assert asyncio.run(DiskKeyManager(tmp_path).ids()) == frozenset()


_SECRET = base64.b64encode(b"a very secret number")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of the kind",
        b"-----BEGIN PRIVATE KEY-----\n" + _SECRET,
        b"-----BEGIN PRIVATE KEY-----\n" + _SECRET + b"\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n!" + _SECRET + b"\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN " + _SECRET + b"-----\nAAAA\n-----END " + _SECRET + b"-----\n",
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(_SECRET)
        ),
    ],
)
def test_a_damaged_file_is_named_and_its_content_is_not(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "one.pem").write_bytes(content)
    manager = DiskKeyManager(tmp_path)
    error = refusal(manager, "one")
    assert isinstance(error, DiskError)
    assert str(tmp_path / "one.pem") in error.message
    assert "delete it" in error.reason.hint
    assert _SECRET.decode() not in error.message
    assert error.__suppress_context__
    assert asyncio.run(manager.ids()) == {"one"}


def test_a_weak_key_is_refused(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    text = weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "one.pem").write_bytes(text)
    assert "key-weak" in refusal(DiskKeyManager(tmp_path), "one").message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "one.pem").mkdir()
    error = refusal(DiskKeyManager(tmp_path), "one")
    assert isinstance(error, FileError)
    assert str(tmp_path / "one.pem") in error.message


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(b"")
    with pytest.raises(FileError, match="private is not a folder"):
        create({}, context(tmp_path))
    manager = DiskKeyManager(tmp_path / "keys")
    (tmp_path / "keys").rmdir()
    with pytest.raises(FileError, match="cannot list"):
        asyncio.run(manager.ids())


def test_keys_are_made_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    sizes: list[int] = []

    def generate(exponent: int, bits: int) -> rsa.RSAPrivateKey:
        threads.append(threading.current_thread())
        sizes.append(bits)
        return small

    small = rsa.generate_private_key(65537, 2048)
    monkeypatch.setattr(rsa, "generate_private_key", generate)
    for kind in (KeyType.RSA_2048, KeyType.RSA_4096):
        asyncio.run(DiskKeyManager(tmp_path).generate("one", kind))
    assert sizes == [2048, 4096]
    assert threading.main_thread() not in threads

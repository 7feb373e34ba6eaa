"""The agent's data folder: its identity and its trust, which survive a kill at any instruction.

    lock                      held while an agent runs
    bundle.json               the last bundle that the server sent, with the name of its trust domain
    private/identity.json     node SVID and its key, together in one file
    private/attest-key.pem    the key that the node attests with, until the SVID has come

The key is on the disk before it is used: a server takes a join token once more from whoever comes back soon
with the same key, so a kill between the use of the token and the SVID's arrival locks nobody out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from finial.agent.identity import Key, NodeIdentity, new_key
from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle, write_bundle
from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import TrustDomain
from finial.core.keys import read_private_key, write_private_key
from finial.core.x509svid import X509SVID
from finial.runtime import files

FOLDER = 0o755
_CORRUPT = Reason(
    "agent-data-corrupt",
    Kind.INVALID,
    hint="Move the file away and start the agent with a new token: finial server token generate.",
)
_PUBLIC_FILE = 0o644

_Value = TypeVar("_Value")


class DiskError(FinialError):
    """The data folder cannot be used."""


class Disk:
    """What an agent keeps.

    Args:
        path: The data folder; made when it is missing.

    Raises:
        FileError: The system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = files.folder(path, FOLDER)
        private = files.private_folder(path / "private")
        self._identity = private / "identity.json"
        self._attest_key = private / "attest-key.pem"
        self._bundle = path / "bundle.json"

    def lock(self) -> files.FolderLock:
        """Hold the folder for this process.

        Raises:
            FileError: Another process holds it.
        """
        return files.FolderLock(self.path)

    def identity(self) -> NodeIdentity | None:
        """The stored identity; None when there is none.

        Raises:
            DiskError: It cannot be understood.
            FileError: It cannot be read.
        """

        def parse(document: dict[str, object]) -> NodeIdentity:
            text = _text(document, "svid").encode()
            return NodeIdentity(X509SVID.from_pem(text, text), document["reattestable"] is True)

        return _load(self._identity, parse)

    def store_identity(self, identity: NodeIdentity) -> None:
        """Keep an identity in place of the one so far; the key that it was attested with goes into it.

        Raises:
            FileError: The system refuses; the old one is still there.
        """
        svid = identity.svid.chain_pem() + identity.svid.key_pem()
        document = {"format": 1, "svid": svid.decode(), "reattestable": identity.reattestable}
        files.write(self._identity, json.dumps(document, indent=1).encode())
        files.remove(self._attest_key)

    def forget_identity(self) -> None:
        """Delete the identity: the server knows this agent no more."""
        files.remove(self._identity)
        files.remove(self._attest_key)

    def attest_key(self) -> Key:
        """The key to attest with: the one of an earlier try that may have got through, or a new one."""
        stored = files.read_if_there(self._attest_key)
        if stored is not None:
            try:
                key = read_private_key(pem.read_private_key(stored))
            except FinialError as error:
                raise _corrupt(self._attest_key, error.message) from error
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key
            raise _corrupt(self._attest_key, "the key is of another type")
        fresh = new_key()
        files.write(self._attest_key, pem.write(pem.PRIVATE_KEY, [write_private_key(fresh)]))
        return fresh

    def bundle(self) -> Bundle | None:
        """The bundle of the last run; None when there is none.

        Raises:
            DiskError: It cannot be understood.
            FileError: It cannot be read.
        """

        def parse(document: dict[str, object]) -> Bundle:
            trust_domain = TrustDomain(_text(document, "trust_domain"))
            return read_bundle(trust_domain, json.dumps(document["bundle"]).encode()).bundle

        return _load(self._bundle, parse)

    def store_bundle(self, bundle: Bundle) -> None:
        """Keep the own bundle, for the next start.

        Raises:
            FileError: The system refuses; the old one is still there.
        """
        document = {
            "format": 1,
            "trust_domain": bundle.trust_domain.name,
            "bundle": json.loads(write_bundle(bundle)),
        }
        files.write(self._bundle, json.dumps(document, indent=1).encode(), _PUBLIC_FILE)


def _load(path: Path, parse: Callable[[dict[str, object]], _Value]) -> _Value | None:
    data = files.read_if_there(path)
    if data is None:
        return None
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("format") != 1:
            raise _corrupt(path, "it is of no format that is known")
        return parse(document)
    except FinialError as error:
        if isinstance(error, DiskError):
            raise
        raise _corrupt(path, error.message) from error
    except (ValueError, KeyError, RecursionError) as error:
        raise _corrupt(path, "it is not what an agent writes") from error


def _text(document: dict[str, object], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise ValueError(name)  # noqa: TRY004 - translated where the file is named
    return value


def _corrupt(path: Path, why: str) -> DiskError:
    return DiskError(_CORRUPT, f"{path} is damaged: {why}", subject=str(path))

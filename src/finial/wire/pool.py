"""The private descriptor pool: message classes that share no names with the rest of the process.

The Workload API's messages have no package, so in protobuf's default pool they collide with any other
library's copy. Ours stand in a pool of their own, with the well-known types added to it, made from
descriptors that `tools/protos.py` checks in: no generated code asks for a version of protobuf.

A package's files are added when something of it is first asked for.
"""

from __future__ import annotations

import threading
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_WELL_KNOWN = "google/protobuf/"
_DESCRIPTORS = Path(__file__).with_name("gen") / "descriptors.binpb"

# Tags of the fields of a FileDescriptorProto that its index is made of; they are written first, in order.
_NAME, _PACKAGE, _DEPENDENCY = 0x0A, 0x12, 0x1A


class _File(NamedTuple):
    package: str
    needs: tuple[str, ...]
    data: bytes


POOL: Final = DescriptorPool()


def _delimited(data: bytes, at: int) -> tuple[bytes, int]:
    """The length-delimited value that begins at `at`, and where it ends."""
    size = shift = 0
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[at : at + size], at + size


def _index(descriptor_set: bytes) -> dict[str, _File]:
    """The files of a serialised FileDescriptorSet by name.

    Only the head of each is read, and by hand: protobuf's own class costs more to import than all else here.
    """
    files = {}
    at = 0
    while at < len(descriptor_set):
        data, at = _delimited(descriptor_set, at + 1)
        heads: dict[int, list[str]] = {_NAME: [], _PACKAGE: [], _DEPENDENCY: []}
        head = 0
        while head < len(data) and data[head] in heads:
            tag = data[head]
            value, head = _delimited(data, head + 1)
            heads[tag].append(value.decode())
        files[heads[_NAME][0]] = _File("".join(heads[_PACKAGE]), tuple(heads[_DEPENDENCY]), data)
    return files


def _by_package(files: dict[str, _File]) -> dict[str, set[str]]:
    packages: dict[str, set[str]] = {}
    for name, file in files.items():
        packages.setdefault(file.package, set()).add(name)
        for needed in file.needs:
            if needed.startswith(_WELL_KNOWN):
                packages.setdefault("google.protobuf", set()).add(needed)
    return packages


_FILES: Final = _index(_DESCRIPTORS.read_bytes())
_PACKAGES: Final = _by_package(_FILES)
_added: set[str] = set()  # guarded by _lock
_lock = threading.Lock()


def _well_known(name: str) -> _File:
    """One of protobuf's own files, as the installed protobuf has it."""
    module = import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    own: FileDescriptor = module.DESCRIPTOR
    return _File(own.package, tuple(file.name for file in own.dependencies), own.serialized_pb)


def _add(name: str) -> None:
    if name in _added:
        return
    file = _well_known(name) if name.startswith(_WELL_KNOWN) else _FILES[name]
    for needed in file.needs:
        _add(needed)
    POOL.AddSerializedFile(file.data)
    _added.add(name)


def load(package: str) -> None:
    """Have all files of a package, and what they need, in the pool; none of a package that we do not have."""
    with _lock:
        for name in sorted(_PACKAGES.get(package, ())):
            _add(name)


def _load_around(symbol: str) -> None:
    package = symbol.rpartition(".")[0]
    while package and package not in _PACKAGES:
        package = package.rpartition(".")[0]
    load(package)


def message_class(full_name: str) -> type[Message]:
    """The class of a message by its full name, `package.Message`.

    Raises:
        KeyError: There is no such message.
    """
    _load_around(full_name)
    return class_of(POOL.FindMessageTypeByName(full_name))


def class_of(descriptor: Descriptor) -> type[Message]:
    """The one class that goes with a message's descriptor."""
    with _lock:  # two threads could make two, which do not mix
        return GetMessageClass(descriptor)


def enum(full_name: str) -> EnumTypeWrapper:
    """An enum by its full name, `package.Enum`: its values are attributes, `Name` and `Value` translate.

    Raises:
        KeyError: There is no such enum.
    """
    _load_around(full_name)
    return EnumTypeWrapper(POOL.FindEnumTypeByName(full_name))


def service_descriptor(full_name: str) -> ServiceDescriptor:
    """The descriptor of a service by its full name, `package.Service`.

    Raises:
        KeyError: There is no such service.
    """
    _load_around(full_name)
    return POOL.FindServiceByName(full_name)

"""Compile the .proto files: descriptors.binpb, and for each package a module and its .pyi.

    python tools/protos.py            writes src/finial/wire/gen
    python tools/protos.py --check    fails when what is checked in is stale

The descriptors hold our own files only; the well-known types come from the installed protobuf.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    OneofDescriptor,
    ServiceDescriptor,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.well_known_types import WKTBASES

_WIRE = Path(__file__).resolve().parents[1] / "src" / "finial" / "wire"
PROTO = _WIRE / "proto"
GEN = _WIRE / "gen"

_WELL_KNOWN = "google/protobuf/"
# Files that name no package share one module; the Workload API's is the only one there is.
_MODULE_WITHOUT_PACKAGE = "workload"

_INIT = '"""Made by tools/protos.py: a module for each protobuf package."""\n'

_MODULE = '''"""Package {package}."""

from finial.wire.package import names

__getattr__ = names(globals(), "{name}")
'''

_STUB_HEAD = '''"""Package {package}; made by tools/protos.py."""

import builtins as _b
import collections.abc as _c
import typing as _t

import google.protobuf.internal.containers as _containers
import google.protobuf.internal.enum_type_wrapper as _enums
import google.protobuf.internal.well_known_types as _well_known
import google.protobuf.message as _message

import finial.rpc.method as _method
import finial.wire.methods as _methods
'''

_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: "_b.int",
    FieldDescriptor.CPPTYPE_INT64: "_b.int",
    FieldDescriptor.CPPTYPE_UINT32: "_b.int",
    FieldDescriptor.CPPTYPE_UINT64: "_b.int",
    FieldDescriptor.CPPTYPE_DOUBLE: "_b.float",
    FieldDescriptor.CPPTYPE_FLOAT: "_b.float",
    FieldDescriptor.CPPTYPE_BOOL: "_b.bool",
}


def compile_protos(root: Path) -> FileDescriptorSet:
    """All .proto files below `root` and what they import, each after what it needs.

    Raises:
        SystemExit: protoc refuses a file; it has said why.
    """
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "set.binpb"
        options = [f"-I{root}", "--include_imports", f"--descriptor_set_out={output}"]
        command = [sys.executable, "-m", "grpc_tools.protoc", *options, *names]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit("protoc failed")
        return FileDescriptorSet.FromString(output.read_bytes())


def module_name(package: str) -> str:
    """The module of `finial.wire.gen` that a package becomes."""
    return package.replace(".", "_") or _MODULE_WITHOUT_PACKAGE


def generate(compiled: FileDescriptorSet) -> dict[str, bytes]:
    """What belongs into the folder of generated files, by file name."""
    ours = FileDescriptorSet(file=[file for file in compiled.file if not file.name.startswith(_WELL_KNOWN)])
    made = {"descriptors.binpb": ours.SerializeToString(deterministic=True), "__init__.py": _INIT.encode()}
    for package, descriptors in sorted(_packages(compiled.file).items()):
        name = module_name(package)
        shown = package or "(none)"
        made[f"{name}.py"] = _MODULE.format(package=shown, name=package).encode()
        made[f"{name}.pyi"] = "\n".join(_stub(package, descriptors)).encode() + b"\n"
    return made


def _packages(protos: Iterable[FileDescriptorProto]) -> dict[str, list[FileDescriptor]]:
    pool = DescriptorPool()
    packages: dict[str, list[FileDescriptor]] = {}
    for proto in protos:
        descriptor = pool.AddSerializedFile(proto.SerializeToString())
        packages.setdefault(proto.package, []).append(descriptor)
    return packages


def _stub(package: str, descriptors: Sequence[FileDescriptor]) -> Iterator[str]:
    yield _STUB_HEAD.format(package=package or "(none)").rstrip()
    others = {needed.package for file in descriptors for needed in file.dependencies} - {package}
    for other in sorted(map(module_name, others)):
        yield f"from finial.wire.gen import {other} as _pb_{other}"
    for file in descriptors:
        for enum in file.enum_types_by_name.values():
            yield ""
            yield from _enum(enum)
        for message in file.message_types_by_name.values():
            yield ""
            yield from _message(message)
        for service in file.services_by_name.values():
            yield ""
            yield from _service(service)


def _enum(enum: EnumDescriptor) -> Iterator[str]:
    value = f"{enum.name}Value"
    yield f'{value} = _t.NewType("{value}", _b.int)'
    yield f"class _{enum.name}(_enums._EnumTypeWrapper[{_inside(enum)}Value]):"
    for each in enum.values:
        yield f"    {each.name}: _t.Final[{_inside(enum)}Value]"
    yield f"{enum.name}: _t.Final[_{enum.name}]"


def _inside(descriptor: Descriptor | EnumDescriptor) -> str:
    """A type's name within its package: `Message.Nested`."""
    package = descriptor.file.package
    return descriptor.full_name.removeprefix(f"{package}." if package else "")


def _qualified(descriptor: Descriptor | EnumDescriptor, seen_from: FileDescriptor) -> str:
    name = _inside(descriptor)
    package = descriptor.file.package
    return name if package == seen_from.package else f"_pb_{module_name(package)}.{name}"


def _message(message: Descriptor) -> Iterator[str]:
    mixin = WKTBASES.get(message.full_name)
    bases = "_message.Message" if mixin is None else f"_message.Message, _well_known.{mixin.__name__}"
    yield f"class {message.name}({bases}):"
    for line in _body(message):
        yield f"    {line}"


def _body(message: Descriptor) -> Iterator[str]:
    for enum in message.enum_types:
        yield from _enum(enum)
        for each in enum.values:
            yield f"{each.name}: _t.ClassVar[{_inside(enum)}Value]"
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _message(nested)
    for field in message.fields:
        yield from _field(field)
    parameters = "".join(f", {field.name}: {_accepted(field)} | None = ..." for field in message.fields)
    yield f"def __init__(self{', *' if parameters else ''}{parameters}) -> None: ..."
    oneofs = [oneof for oneof in message.oneofs if not _synthetic(oneof)]
    groups = [oneof.name for oneof in oneofs]
    present = [field.name for field in message.fields if field.has_presence]
    yield f"def HasField(self, field_name: {_literal(present + groups)}) -> _b.bool: ..."
    cleared = [field.name for field in message.fields]
    yield f"def ClearField(self, field_name: {_literal(cleared + groups)}) -> None: ..."
    for oneof in oneofs:
        if len(oneofs) > 1:
            yield "@_t.overload"
        chosen = _literal(field.name for field in oneof.fields)
        yield f'def WhichOneof(self, oneof_group: _t.Literal["{oneof.name}"]) -> {chosen} | None: ...'


def _synthetic(oneof: OneofDescriptor) -> bool:
    """Whether it only stands for an `optional` field."""
    return len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}"


def _literal(names: Iterable[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"_t.Literal[{quoted}]" if quoted else "_t.Never"


def _type(field: FieldDescriptor) -> str:
    """The type of one value of a field."""
    assert field.containing_type is not None  # we declare no extensions
    here = field.containing_type.file
    if field.message_type is not None:
        return _qualified(field.message_type, here)
    if field.enum_type is not None:
        return f"{_qualified(field.enum_type, here)}Value"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "_b.bytes" if field.type == FieldDescriptor.TYPE_BYTES else "_b.str"
    return _SCALARS[field.cpp_type]


def _map(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor] | None:
    """The key and the value of a map field."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


def _field(field: FieldDescriptor) -> Iterator[str]:
    entry = _map(field)
    if entry is not None:
        key, value = entry
        kind = "ScalarMap" if value.message_type is None else "MessageMap"
        content = f"_containers.{kind}[{_type(key)}, {_type(value)}]"
    elif field.is_repeated:
        kind = "Scalar" if field.message_type is None else "Composite"
        content = f"_containers.Repeated{kind}FieldContainer[{_type(field)}]"
    elif field.message_type is not None:
        content = _type(field)
    else:
        yield f"{field.name}: {_type(field)}"
        return
    yield "@_b.property"
    yield f"def {field.name}(self) -> {content}: ..."


def _accepted(field: FieldDescriptor) -> str:
    """What the constructor takes for a field."""
    entry = _map(field)
    if entry is not None:
        return f"_c.Mapping[{_type(entry[0])}, {_type(entry[1])}]"
    return f"_c.Iterable[{_type(field)}]" if field.is_repeated else _type(field)


def _service(service: ServiceDescriptor) -> Iterator[str]:
    yield f"class _{service.name}(_methods.Service):"
    for method in service.methods:
        request = _qualified(method.input_type, service.file)
        reply = _qualified(method.output_type, service.file)
        yield f"    {method.name}: _method.Method[{request}, {reply}]"
    yield f"{service.name}: _t.Final[_{service.name}]"


def stale(made: dict[str, bytes], folder: Path) -> list[str]:
    """The names of files that differ from what is made, are missing, or do not belong."""
    present = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    return sorted(name for name in made.keys() | present.keys() if made.get(name) != present.get(name))


def main(arguments: Sequence[str]) -> int:
    """Write what is stale, or with --check name it and fail."""
    parser = argparse.ArgumentParser(description="Compile the .proto files.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is stale")
    options = parser.parse_args(arguments)
    made = generate(compile_protos(PROTO))
    different = stale(made, GEN)
    for name in different:
        if options.check:
            print(f"{GEN / name} is stale: run python tools/protos.py")
        elif name in made:
            (GEN / name).write_bytes(made[name])
        else:
            (GEN / name).unlink()
    return int(options.check and bool(different))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

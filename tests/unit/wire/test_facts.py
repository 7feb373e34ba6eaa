"""What we serve is what the table of the wire says, and nothing is served that the table does not have.

`facts.tsv` holds one fact a line: every rpc with its kind and messages, every message, every field with its
number, type and label, every value of an enum. Types of the own package stand there without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from finial.rpc.method import MethodKind
from finial.wire import methods, pool

_FACTS = Path(__file__).with_name("facts.tsv")
_KINDS = {
    MethodKind.UNARY: "unary",
    MethodKind.SERVER_STREAM: "server stream",
    MethodKind.CLIENT_STREAM: "client stream",
    MethodKind.BIDI: "bidi stream",
}


def _named(type_name: str, package: str) -> str:
    full_name = type_name.removeprefix(".")
    return full_name.removeprefix(f"{package}.") if package else full_name


def _type(field: FieldDescriptorProto, package: str) -> str:
    if field.type_name:
        return _named(field.type_name, package)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _type_and_label(field: FieldDescriptorProto, message: DescriptorProto, package: str) -> tuple[str, str]:
    kind = _type(field, package)
    for nested in message.nested_type:
        if nested.options.map_entry and kind.endswith(f"{message.name}.{nested.name}"):
            key, value = (_type(each, package) for each in nested.field)
            return f"map<{key}, {value}>", "map"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return kind, "repeated"
    if field.proto3_optional:
        return kind, "optional"
    if field.HasField("oneof_index"):
        return kind, f"oneof {message.oneof_decl[field.oneof_index].name}"
    return kind, "-"


def _of_enum(enum: EnumDescriptorProto, prefix: str) -> Iterator[tuple[str, ...]]:
    for value in enum.value:
        yield "value", prefix + enum.name, str(value.number), value.name


def _of_message(message: DescriptorProto, prefix: str, package: str) -> Iterator[tuple[str, ...]]:
    if message.options.map_entry:
        return
    full_name = prefix + message.name
    yield "message", full_name
    for field in message.field:
        kind, label = _type_and_label(field, message, package)
        yield "field", full_name, str(field.number), field.name, kind, label
    for nested in message.nested_type:
        yield from _of_message(nested, f"{full_name}.", package)
    for enum in message.enum_type:
        yield from _of_enum(enum, f"{full_name}.")


def _of_file(file: FileDescriptorProto) -> Iterator[tuple[str, ...]]:
    prefix = f"{file.package}." if file.package else ""
    for message in file.message_type:
        yield from _of_message(message, prefix, file.package)
    for enum in file.enum_type:
        yield from _of_enum(enum, prefix)
    for service in file.service:
        served = methods.service(prefix + service.name).methods
        for method in service.method:
            request, reply = (_named(each, file.package) for each in (method.input_type, method.output_type))
            kind = _KINDS[served[method.name].kind]
            yield "rpc", f"{prefix}{service.name}/{method.name}", kind, request, reply


def _served() -> list[tuple[str, ...]]:
    facts: list[tuple[str, ...]] = []
    for name, file in pool._FILES.items():
        if not file.package or file.package.startswith("spire."):
            pool.load(file.package)
            facts += _of_file(FileDescriptorProto.FromString(pool.POOL.FindFileByName(name).serialized_pb))
    return facts


def test_what_is_served_is_what_the_table_says() -> None:
    table = [tuple(line.split("\t")) for line in _FACTS.read_text().splitlines()]
    served = _served()
    assert set(served) - set(table) == set()
    assert set(table) - set(served) == set()
    assert len(served) == len(set(served)) == len(table)


def test_the_table_holds_every_service() -> None:
    lines = _FACTS.read_text().splitlines()
    rpcs = {line.split("\t")[1].partition("/")[0] for line in lines if line.startswith("rpc")}
    assert rpcs == {
        "SpiffeWorkloadAPI",
        "spire.api.server.agent.v1.Agent",
        "spire.api.server.bundle.v1.Bundle",
        "spire.api.server.entry.v1.Entry",
        "spire.api.server.localauthority.v1.LocalAuthority",
        "spire.api.server.svid.v1.SVID",
    }


def test_each_method_stands_in_the_module_of_its_package() -> None:
    for line in _FACTS.read_text().splitlines():
        if line.startswith("rpc"):
            _, path, _, request, reply = line.split("\t")
            service, _, name = path.partition("/")
            package, _, short = service.rpartition(".")
            module = importlib.import_module(f"finial.wire.gen.{package.replace('.', '_') or 'workload'}")
            method = getattr(getattr(module, short), name)
            assert method.path == f"/{path}"
            for decode, message in ((method.decode_request, request), (method.decode_reply, reply)):
                outside = message.startswith(("spire.", "google.")) or not package
                full_name = message if outside else f"{package}.{message}"
                assert decode(b"").DESCRIPTOR.full_name == full_name

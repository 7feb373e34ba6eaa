"""The compiler of the .proto files: what is checked in is fresh, and stubs say what messages are."""

from __future__ import annotations

import ast
from pathlib import Path

import protos
import pytest

_TYPES = """
syntax = "proto3";
package b;
enum Color { RED = 0; BLUE = 1; }
message Thing { Color color = 1; }
"""

_SERVICE = """
syntax = "proto3";
package a.v1;
import "b/types.proto";
import "google/protobuf/timestamp.proto";
message Request {
  enum Inner { ZERO = 0; }
  message Nested {
    repeated Inner inners = 1;
    map<string, b.Color> colors = 2;
    map<int32, b.Thing> things = 3;
  }
  optional string maybe = 1;
  oneof step { string text = 2; b.Thing thing = 3; }
  oneof other { int64 y = 4; Inner z = 5; }
  google.protobuf.Timestamp at = 6;
  repeated b.Thing list = 7;
  repeated bytes raw = 8;
  double ratio = 9;
}
service S { rpc U(Request) returns (b.Thing); }
"""

_BARE = """
syntax = "proto3";
message Bare {}
"""


@pytest.fixture(scope="module", autouse=True)
def _protoc() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("proto")
    for name, text in {"a/service.proto": _SERVICE, "b/types.proto": _TYPES, "bare.proto": _BARE}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return protos.generate(protos.compile_protos(root))


def test_what_is_checked_in_is_fresh() -> None:
    assert protos.main(["--check"]) == 0


def test_each_package_has_a_module_and_a_stub(made: dict[str, bytes]) -> None:
    packages = ["a_v1", "b", "google_protobuf", "workload"]
    names = [f"{package}.{ending}" for package in packages for ending in ("py", "pyi")]
    assert sorted(made) == sorted(["__init__.py", "descriptors.binpb", *names])
    assert b'names(globals(), "")' in made["workload.py"]
    for name, text in made.items():
        if name.endswith((".py", ".pyi")):
            ast.parse(text)


def test_the_well_known_types_are_not_in_our_descriptors(made: dict[str, bytes]) -> None:
    assert b"bare.proto" in made["descriptors.binpb"]
    assert b"TimestampProto" not in made["descriptors.binpb"]


@pytest.mark.parametrize(
    "line",
    [
        "    maybe: _b.str",
        "    def thing(self) -> _pb_b.Thing: ...",
        "    def at(self) -> _pb_google_protobuf.Timestamp: ...",
        "    def list(self) -> _containers.RepeatedCompositeFieldContainer[_pb_b.Thing]: ...",
        "    def raw(self) -> _containers.RepeatedScalarFieldContainer[_b.bytes]: ...",
        "        def inners(self) -> _containers.RepeatedScalarFieldContainer[Request.InnerValue]: ...",
        "        def colors(self) -> _containers.ScalarMap[_b.str, _pb_b.ColorValue]: ...",
        "        def things(self) -> _containers.MessageMap[_b.int, _pb_b.Thing]: ...",
        '    def WhichOneof(self, oneof_group: _t.Literal["other"]) -> _t.Literal["y", "z"] | None: ...',
        "    U: _method.Method[Request, _pb_b.Thing]",
    ],
)
def test_stubs_say_what_the_messages_are(made: dict[str, bytes], line: str) -> None:
    assert line in made["a_v1.pyi"].decode().splitlines()


def test_an_optional_field_is_no_oneof(made: dict[str, bytes]) -> None:
    assert b"_maybe" not in made["a_v1.pyi"]
    present = '_t.Literal["maybe", "text", "thing", "y", "z", "at", "step", "other"]'
    assert f"HasField(self, field_name: {present})" in made["a_v1.pyi"].decode()


def test_what_differs_is_stale(tmp_path: Path) -> None:
    for name, text in {"same": b"1", "changed": b"1", "left_over": b"1"}.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "__pycache__").mkdir()
    assert protos.stale({"same": b"1", "changed": b"2", "new": b"1"}, tmp_path) == [
        "changed",
        "left_over",
        "new",
    ]


def test_a_mistake_in_a_file_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "bad.proto").write_text("syntax = ")
    with pytest.raises(SystemExit):
        protos.compile_protos(tmp_path)


def test_stale_files_are_named_then_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(protos, "GEN", tmp_path)
    (tmp_path / "old.py").write_text("")
    assert protos.main(["--check"]) == 1
    assert "old.py is stale" in capsys.readouterr().out
    assert protos.main([]) == 0
    assert not (tmp_path / "old.py").exists()
    assert protos.main(["--check"]) == 0

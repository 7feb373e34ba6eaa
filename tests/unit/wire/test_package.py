"""Modules of `finial.wire.gen` fill themselves when asked."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorProto

from finial.wire import methods, pool
from finial.wire.gen import grpc_health_v1
from finial.wire.package import names


def test_a_name_is_looked_up_once() -> None:
    assert grpc_health_v1.HealthListRequest is grpc_health_v1.HealthListRequest
    assert "HealthListRequest" in vars(grpc_health_v1)
    assert grpc_health_v1.HealthListRequest is pool.message_class("grpc.health.v1.HealthListRequest")


def test_services_have_their_methods() -> None:
    assert grpc_health_v1.Health is methods.service("grpc.health.v1.Health")
    assert grpc_health_v1.Health.Check.path == "/grpc.health.v1.Health/Check"


@pytest.mark.parametrize("name", ["Nothing", "__path__", "_private", "health"])
def test_other_names_are_missing(name: str) -> None:
    with pytest.raises(AttributeError, match=f"finial.wire.gen.grpc_health_v1.*{name}"):
        getattr(grpc_health_v1, name)


def test_files_without_a_package_have_a_module_too(monkeypatch: pytest.MonkeyPatch) -> None:
    file = FileDescriptorProto(name="bare.proto", syntax="proto3")
    file.message_type.add(name="BareMessage")
    file.enum_type.append(EnumDescriptorProto(name="BareEnum"))
    file.enum_type[0].value.add(name="ZERO", number=0)
    monkeypatch.setitem(pool._FILES, "bare.proto", pool._File("", (), file.SerializeToString()))
    monkeypatch.setitem(pool._PACKAGES, "", {"bare.proto"})
    namespace: dict[str, Any] = {"__name__": "bare"}
    lookup = names(namespace, "")
    assert lookup("BareMessage") is pool.message_class("BareMessage")
    lookup("BareEnum")
    assert namespace["BareEnum"].ZERO == 0

"""References to workloads, and who may use which."""

from __future__ import annotations

import pytest

from finial.core.broker import (
    OBJECT_TYPE,
    PID_TYPE,
    AllowedBroker,
    BrokerPolicy,
    ObjectKey,
    ObjectReference,
    PIDReference,
)
from finial.core.errors import BrokerError
from finial.core.ids import SpiffeID

UID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PROXY, OTHER = SpiffeID("spiffe://a.test/proxy"), SpiffeID("spiffe://b.test/proxy")


def refused(**fields: object) -> list[str]:
    given = {"plural": "pods", "group": "core", "key": ObjectKey("web", "shop"), **fields}
    with pytest.raises(BrokerError) as caught:
        ObjectReference(**given)  # type: ignore[arg-type]
    return [finding.reason.id.removeprefix("broker-object-") for finding in caught.value.findings]


def test_processes() -> None:
    assert PIDReference(1).type == PID_TYPE
    assert PIDReference(2**31 - 1).pid == 2**31 - 1
    for pid in (0, -1, 2**31):
        with pytest.raises(BrokerError, match=f"{pid} is no process id"):
            PIDReference(pid)


@pytest.mark.parametrize(
    ("plural", "group", "key", "uid"),
    [
        ("pods", "core", ObjectKey("web-0", "shop"), ""),
        ("pods", "core", ObjectKey("web.0", "shop"), UID),
        ("pods", "core", None, UID),
        ("nodes", "core", ObjectKey("node-1"), ""),
        ("deployments", "apps", ObjectKey("web", "shop"), ""),
        ("widgets", "example.com", ObjectKey("w"), ""),
        ("widgets", "example.com", ObjectKey("system:w", "shop"), ""),
    ],
)
def test_objects(plural: str, group: str, key: ObjectKey | None, uid: str) -> None:
    found = ObjectReference(plural=plural, group=group, key=key, uid=uid)
    assert (found.type, found.key) == (OBJECT_TYPE, key)
    assert hash(found) == hash(ObjectReference(plural=plural, group=group, key=key, uid=uid))


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({"plural": ""}, ["type"]),
        ({"group": ""}, ["type"]),
        ({"plural": "", "group": ""}, ["type"]),
        ({"plural": "Pods"}, ["type"]),
        ({"plural": "pods/exec"}, ["type"]),
        ({"plural": "x" * 64}, ["type"]),
        ({"group": "apps/v1"}, ["type"]),
        ({"group": "a..b"}, ["type"]),
        ({"group": ".".join(["a" * 60] * 5)}, ["type"]),
        ({"key": None}, ["nameless"]),
        ({"key": ObjectKey("")}, ["key", "namespace"]),
        ({"key": ObjectKey("", "shop")}, ["key"]),
        ({"key": ObjectKey(".", "shop")}, ["key"]),
        ({"key": ObjectKey("..", "shop")}, ["key"]),
        ({"key": ObjectKey("a/b", "shop")}, ["key"]),
        ({"key": ObjectKey("a%2fb", "shop")}, ["key"]),
        ({"key": ObjectKey("a?b", "shop")}, ["key"]),
        ({"key": ObjectKey("a\n", "shop")}, ["key"]),
        ({"key": ObjectKey("x" * 254, "shop")}, ["key"]),
        ({"key": ObjectKey("web", "..")}, ["key"]),
        ({"key": ObjectKey("web", "Shop")}, ["key"]),
        ({"key": ObjectKey("web")}, ["namespace"]),
        ({"plural": "nodes"}, ["namespace"]),
        ({"uid": "web"}, ["uid"]),
        ({"uid": UID.upper()}, ["uid"]),
        ({"uid": f"{UID}\n"}, ["uid"]),
        ({"key": None, "uid": "x", "plural": ""}, ["type", "uid"]),
    ],
)
def test_what_is_no_object(fields: dict[str, object], reasons: list[str]) -> None:
    assert refused(**fields) == reasons


def test_whether_a_kind_lives_in_namespaces_may_be_learned_later() -> None:
    inside = ObjectReference(plural="widgets", group="example.com", key=ObjectKey("w", "shop"))
    outside = ObjectReference(plural="widgets", group="example.com", key=ObjectKey("w"))
    inside.check_namespace(namespaced=True)
    outside.check_namespace(namespaced=False)
    ObjectReference(plural="widgets", group="example.com", uid=UID).check_namespace(namespaced=True)
    for reference, namespaced in ((inside, False), (outside, True)):
        with pytest.raises(BrokerError) as caught:
            reference.check_namespace(namespaced=namespaced)
        assert caught.value.reason.id == "broker-object-namespace"


def test_an_object_that_took_the_name_of_another() -> None:
    pinned = ObjectReference(plural="pods", group="core", key=ObjectKey("web", "shop"), uid=UID)
    pinned.check_found(UID)
    ObjectReference(plural="pods", group="core", key=ObjectKey("web", "shop")).check_found("any")
    with pytest.raises(BrokerError) as caught:
        pinned.check_found(UID.replace("0", "1"))
    assert caught.value.reason.id == "broker-object-replaced"


def test_who_may_use_which() -> None:
    policy = BrokerPolicy(
        (
            AllowedBroker(PROXY, frozenset({PID_TYPE, OBJECT_TYPE}), frozenset({OBJECT_TYPE})),
            AllowedBroker(OTHER),
        )
    )
    assert policy.ids() == {PROXY, OTHER}
    policy.check(PROXY, PID_TYPE, remote=False)
    policy.check(PROXY, OBJECT_TYPE, remote=True)
    policy.check(OTHER, "vendor.Reference", remote=False)
    for caller, reference_type, remote, reason in (
        (PROXY, PID_TYPE, True, "broker-type-not-remote"),
        (PROXY, "vendor.Reference", False, "broker-type-not-allowed"),
        (OTHER, OBJECT_TYPE, True, "broker-type-not-remote"),
        (SpiffeID("spiffe://a.test/proxy/x"), PID_TYPE, False, "broker-not-allowed"),
    ):
        with pytest.raises(BrokerError) as caught:
            policy.check(caller, reference_type, remote=remote)
        assert caught.value.reason.id == reason


def test_a_policy_names_somebody_and_nobody_twice() -> None:
    with pytest.raises(BrokerError, match="no broker is allowed"):
        BrokerPolicy(())
    with pytest.raises(BrokerError, match="spiffe://a.test/proxy is allowed 2 times"):
        BrokerPolicy((AllowedBroker(PROXY), AllowedBroker(OTHER), AllowedBroker(PROXY, frozenset())))

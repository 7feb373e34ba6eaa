"""The rules of what brokers refer to workloads by.

Plural, group, namespace and name end up in the path of a request to the control plane, so what could lead to
another path is refused before anybody is asked: names follow the rules that Kubernetes has for them itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from finial.core.errors import shown
from finial.core.reasons import broker as reasons
from finial.core.rules.engine import Rule, Stage, Table

CORE_GROUP: Final = "core"
MAX_PID: Final = (1 << 31) - 1

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ONE_LABEL = re.compile(_LABEL)
_LABELS = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# The names of most kinds are narrower than this; those of roles have colons.
_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:-]{1,253}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_LABELS = 253

_READING = frozenset({Stage.PARSE})

# Of kinds that come with Kubernetes, whether they live in namespaces; of others the control plane knows.
NAMESPACED: Final[Mapping[tuple[str, str], bool]] = MappingProxyType(
    {
        **{
            (CORE_GROUP, plural): True
            for plural in (
                "configmaps", "endpoints", "persistentvolumeclaims", "pods", "replicationcontrollers",
                "secrets", "serviceaccounts", "services",
            )
        },
        **{(CORE_GROUP, plural): False for plural in ("namespaces", "nodes", "persistentvolumes")},
        **{
            ("apps", plural): True
            for plural in ("controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets")
        },
        **{("batch", plural): True for plural in ("cronjobs", "jobs")},
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectText:
    """A claimed reference to a Kubernetes object; empty text is missing.

    Args:
        plural: Of the kind: `pods`.
        group: Of its API; `core` for core resources.
        keyed: Whether a key is given.
        namespace: Of the key.
        name: Of the key.
        uid: The object's.
    """

    plural: str
    group: str
    keyed: bool
    namespace: str
    name: str
    uid: str


def _pid(pid: int) -> str:
    return "" if 1 <= pid <= MAX_PID else f"{pid} is no process id"


PROCESS: Final = Table("reference to a process", (Rule(reasons.PID, _pid, _READING),))


def _type(given: ObjectText) -> str:
    missing = [what for what in ("plural", "group") if not getattr(given, what)]
    if missing:
        return f"the type has no {' and no '.join(missing)}"
    if not _ONE_LABEL.fullmatch(given.plural):
        return f"{shown(given.plural)} is no plural of a kind"
    good = len(given.group) <= _MAX_LABELS and _LABELS.fullmatch(given.group)
    return "" if good else f"{shown(given.group)} is no group of an API"


def _key(given: ObjectText) -> str:
    if not given.keyed:
        return ""
    if not given.name:
        return "the key has no name"
    if not _NAME.fullmatch(given.name):
        return f"{shown(given.name)} is no name of an object"
    good = not given.namespace or _ONE_LABEL.fullmatch(given.namespace)
    return "" if good else f"{shown(given.namespace)} is no name of a namespace"


def _namespace(given: ObjectText) -> str:
    namespaced = NAMESPACED.get((given.group, given.plural))
    return "" if namespaced is None else namespace_fault(given, namespaced=namespaced)


def namespace_fault(given: ObjectText, *, namespaced: bool) -> str:
    """What is wrong with the namespace of a key, one line; empty when nothing is. Clauses: BROKER-41.

    Args:
        given: The reference.
        namespaced: Whether objects of its kind live in namespaces.
    """
    if not given.keyed or namespaced == bool(given.namespace):
        return ""
    what = "live in a namespace, and the key names none" if namespaced else "live in no namespace"
    return f"{given.plural} {what}"


def _uid(given: ObjectText) -> str:
    return "" if not given.uid or _UUID.fullmatch(given.uid) else f"{shown(given.uid)} is no UID"


def _nameless(given: ObjectText) -> str:
    return "" if given.keyed or given.uid else "there is neither a key nor a UID"


OBJECT: Final = Table(
    "reference to a Kubernetes object",
    (
        Rule(reasons.OBJECT_TYPE, _type, _READING),
        Rule(reasons.OBJECT_NAMELESS, _nameless, _READING),
        Rule(reasons.OBJECT_KEY, _key, _READING),
        Rule(reasons.OBJECT_NAMESPACE, _namespace, _READING),
        Rule(reasons.OBJECT_UID, _uid, _READING),
    ),
)

"""Every reason for which the core refuses something, by its stable id.

An id is never renamed and never used again for something else: operators search for it, programs branch
on it, and the documentation of refusals is generated from `CATALOGUE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType

from finial.core.errors import Reason
from finial.core.reasons import (
    broker,
    bundle,
    carriage,
    endpoint,
    federation,
    identity,
    issue,
    jwt,
    keys,
    registry,
    token,
    wit,
    wpt,
    x509,
)


def collect(modules: Iterable[ModuleType]) -> Mapping[str, Reason]:
    """The reasons that some modules define, by id, in the order of definition.

    Args:
        modules: Modules whose upper-case constants are reasons.

    Raises:
        ValueError: Two reasons share an id.
    """
    found: dict[str, Reason] = {}
    for module in modules:
        for value in vars(module).values():
            if not isinstance(value, Reason):
                continue
            if found.setdefault(value.id, value) is not value:
                raise ValueError(f"reason id {value.id} is used twice, the second time in {module.__name__}")
    return MappingProxyType(found)


CATALOGUE = collect(
    (
        identity,
        keys,
        x509,
        token,
        jwt,
        wit,
        wpt,
        carriage,
        issue,
        bundle,
        federation,
        broker,
        endpoint,
        registry,
    )
)

"""What stands behind the modules of `finial.wire.gen`: one for each protobuf package, filled when asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finial.wire import methods, pool


def names(namespace: dict[str, Any], package: str) -> Callable[[str], object]:
    """The `__getattr__` of a module for one protobuf package: its messages, enums and services.

    Each is looked up once and then kept in the module.

    Args:
        namespace: The module's `globals()`.
        package: The protobuf package; empty for the files that name none.
    """
    prefix = f"{package}." if package else ""

    def lookup(name: str) -> object:
        if not name.startswith("_"):
            for find in (pool.message_class, methods.service, pool.enum):
                try:
                    found = find(prefix + name)
                except KeyError:
                    continue
                namespace[name] = found
                return found
        raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")

    return lookup

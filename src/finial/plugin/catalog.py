"""Finding plugins: built-in ones and those of third parties alike are entry points of installed packages.

An entry point names a factory, `(settings, context) -> plugin`. What the factory makes is put behind the
guard of its kind before anybody sees it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from finial.core.errors import FinialError, Kind, Reason, shown
from finial.core.ids import TrustDomain
from finial.plugin.guard import guarded, wrong
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Plugin = TypeVar("Plugin")

_UNKNOWN = Reason(
    "plugin-unknown",
    Kind.INVALID,
    hint="Correct the plugin's name, or install the package that brings it.",
    meaning="No installed package brings a plugin of this kind and name.",
)
_TWICE = Reason(
    "plugin-ambiguous",
    Kind.CONFLICT,
    hint="Uninstall one of the packages.",
    meaning="Two installed packages bring a plugin of one kind and name.",
)
_COUNT = Reason("plugin-count", Kind.INVALID, hint="Correct the list of plugins in the configuration.")


class CatalogError(FinialError):
    """Plugins were configured that cannot be had."""


class Cardinality(StrEnum):
    """How many plugins of a kind a process runs."""

    ONE = "exactly one"
    SOME = "at least one"
    ANY = "any number"

    def allows(self, count: int) -> bool:
        """Whether so many are right."""
        match self:
            case Cardinality.ONE:
                return count == 1
            case Cardinality.SOME:
                return count >= 1
            case Cardinality.ANY:
                return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginContext:
    """What a plugin is given besides its settings.

    Args:
        trust_domain: The one that the process works for.
        clock: Its clock.
        chance: Its source of randomness.
        data_dir: Its data folder; a plugin keeps its files in a subfolder of its own.
    """

    trust_domain: TrustDomain
    clock: Clock
    chance: Chance
    data_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Generic[Plugin]):
    """One kind of plugin.

    Args:
        name: Group of entry points, `finial.key_managers`.
        label: How messages call it, `keymanager`.
        cardinality: How many of it a process runs.
        guard: Wraps what a factory made; given it, the plugin's name and the context. Raises `PluginError`
            when it is no plugin of this kind.
    """

    name: str
    label: str
    cardinality: Cardinality
    guard: Callable[[object, str, PluginContext], Plugin]

    @property
    def table(self) -> str:
        """The KIND of its tables `[plugins.KIND.NAME]` in the configuration, `key_managers`."""
        return self.name.split(".")[1]

    def owner(self, name: str) -> str:
        """What begins the messages about a plugin of this kind, `keymanager(disk)`."""
        return f"{self.label}({name})"


def names(group: Group[Plugin]) -> tuple[str, ...]:
    """The plugins of a kind that are installed, sorted."""
    return tuple(sorted({entry.name for entry in _installed(group.name)}))


def load(
    group: Group[Plugin], name: str, settings: Mapping[str, object], *, context: PluginContext
) -> Plugin:
    """Make one plugin, behind its guard.

    Args:
        group: Its kind.
        name: Its name.
        settings: Its own table of the configuration; empty when there is none.
        context: What every plugin is given.

    Raises:
        CatalogError: It is not installed, or twice.
        PluginError: It cannot be imported, refuses its settings, fails, or is no plugin of this kind.
    """
    entry = _find(group, name)
    owner = group.owner(name)
    with guarded(owner):
        factory: object = entry.load()
    if not callable(factory):
        raise wrong(owner, f"{shown(entry.value)} is no factory: it cannot be called")
    with guarded(owner):
        made: object = factory(settings, context)
    return group.guard(made, name, context)


def load_all(
    group: Group[Plugin],
    chosen: Sequence[str],
    settings: Mapping[str, Mapping[str, object]],
    *,
    context: PluginContext,
) -> dict[str, Plugin]:
    """Make all plugins of a kind that a process is to run, by name, in this order; all of them or none.

    Args:
        group: Their kind.
        chosen: Their names.
        settings: Their tables of the configuration, by name.
        context: What every plugin is given.

    Raises:
        CatalogError: One is not installed, is named twice, or there are too many or too few.
        PluginError: As `load`.
    """
    twice = [name for at, name in enumerate(chosen) if name in chosen[:at]]
    if twice:
        raise CatalogError(_COUNT, f"{group.label} plugin {shown(twice[0])} is named twice")
    if not group.cardinality.allows(len(chosen)):
        message = f"{len(chosen)} {group.label} plugins are configured, {group.cardinality} is needed"
        raise CatalogError(_COUNT, message)
    for name in chosen:
        _find(group, name)  # before any of them begins to do things
    return {name: load(group, name, settings.get(name, {}), context=context) for name in chosen}


def _installed(group: str) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms that most commands need not pay

    return tuple(entry_points(group=group))


def _find(group: Group[Plugin], name: str) -> EntryPoint:
    # The same entry point shows twice when a package is installed and on the path as well.
    found = {entry.value: entry for entry in _installed(group.name) if entry.name == name}
    if not found:
        raise CatalogError(_UNKNOWN, _unknown(group, name), subject=shown(name))
    if len(found) > 1:
        values = " and ".join(sorted(found))
        raise CatalogError(_TWICE, f"{group.label} plugin {name} is installed twice: {values}", subject=name)
    return next(iter(found.values()))


def _unknown(group: Group[Plugin], name: str) -> str:
    known = names(group)
    near = difflib.get_close_matches(name, known, 1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return f"no {group.label} plugin {shown(name)}{guess} (installed: {', '.join(known) or 'none'})"

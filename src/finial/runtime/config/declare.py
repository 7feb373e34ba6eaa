"""Declaring settings: each once, with its type, unit, default, sentence and reload class.

@settings
class ServerSettings(Settings):
    ca_ttl: timedelta = setting("How long an authority lives.", default=timedelta(hours=24))

Files, options, help texts and checks all come from these lines.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, dataclass_transform, overload

from finial.runtime.config.forms import Form, form_of

T = TypeVar("T")
_ROW = "finial setting"


class Reload(Enum):
    """When a changed setting takes effect."""

    LIVE = "live"  # at once, in the running process
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Remark:
    """What a look at several settings together has found.

    Args:
        keys: The settings that it is about.
        message: One line.
        wrong: Whether the process must not start like this; otherwise it is a warning.
    """

    keys: tuple[str, ...]
    message: str
    wrong: bool = True


class Settings:
    """What all classes of settings have in common."""

    __slots__ = ()

    def remarks(self) -> Iterator[Remark]:
        """What is to be said about values that are right each on its own; none here."""
        yield from ()


@dataclass(frozen=True, slots=True)
class _Declared:
    sentence: str
    key: str
    form: Form[Any] | None
    reload: Reload
    secret: bool
    option: bool
    least: Any
    most: Any
    default_text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One setting.

    Args:
        name: Of the field.
        key: Where files have it, with dots between the names of tables and the key.
        sentence: What it does.
        form: How its values are written.
        reload: When a change takes effect.
        secret: Whether its value must not be shown.
        option: Whether it can be given on the command line.
        required: Whether it has no default.
        least: No value is smaller; None for no bound.
        most: No value is larger; None for no bound.
        default: Makes the default.
        default_text: The default in words, where the value says little.
    """

    name: str
    key: str
    sentence: str
    form: Form[Any]
    reload: Reload
    secret: bool
    option: bool
    required: bool
    least: Any
    most: Any
    default: Callable[[], object]
    default_text: str

    @property
    def flag(self) -> str:
        """The option on the command line: `--ca-ttl`."""
        return "--" + self.key.replace(".", "-").replace("_", "-")

    def default_shown(self) -> str:
        """The default for help texts; empty when there is none to speak of."""
        if self.default_text or self.required:
            return self.default_text
        value = self.default()
        return "" if value is None or value == () else self.form.write(value)

    def read(self, raw: object) -> object:
        """The value that something written means.

        Raises:
            ValueError: It is not so written, or out of range.
            FinialError: The type itself refuses it.
        """
        value = self.form.read(raw)
        if self.least is not None and value < self.least:
            raise ValueError(f"{self.form.write(value)} is less than {self.form.write(self.least)}")
        if self.most is not None and value > self.most:
            raise ValueError(f"{self.form.write(value)} is more than {self.form.write(self.most)}")
        return value


@overload
def setting(
    sentence: str,
    *,
    default: T,
    key: str = ...,
    form: Form[Any] | None = ...,
    reload: Reload = ...,
    secret: bool = ...,
    option: bool = ...,
    least: object = ...,
    most: object = ...,
    default_text: str = ...,
) -> T: ...
@overload
def setting(
    sentence: str,
    *,
    default_factory: Callable[[], T],
    key: str = ...,
    form: Form[Any] | None = ...,
    reload: Reload = ...,
    secret: bool = ...,
    option: bool = ...,
    least: object = ...,
    most: object = ...,
    default_text: str = ...,
) -> T: ...
@overload
def setting(
    sentence: str,
    *,
    key: str = ...,
    form: Form[Any] | None = ...,
    reload: Reload = ...,
    secret: bool = ...,
    option: bool = ...,
    least: object = ...,
    most: object = ...,
) -> Any: ...  # noqa: ANN401 - as dataclasses.field without default
def setting(
    sentence: str,
    *,
    default: object = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    key: str = "",
    form: Form[Any] | None = None,
    reload: Reload = Reload.RESTART,
    secret: bool = False,
    option: bool = True,
    least: object = None,
    most: object = None,
    default_text: str = "",
) -> Any:
    """Declare a field of a `settings` class.

    Args:
        sentence: What it does, for help and documentation.
        default: Its default; without one, and without `default_factory`, the setting is required.
        default_factory: Makes the default when the process starts.
        key: Where files have it, `table.key`; the field's name when empty.
        form: How it is written, where the type does not say it.
        reload: When a change takes effect.
        secret: Its value appears in no message and no representation.
        option: Whether it can be given on the command line.
        least: The smallest value allowed.
        most: The largest value allowed.
        default_text: The default in words, where the value says little.
    """
    declared = _Declared(sentence, key, form, reload, secret, option, least, most, default_text)
    return dataclasses.field(
        default=default,
        default_factory=default_factory,
        repr=not secret,
        metadata={_ROW: declared},
    )


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
def settings(cls: type[T]) -> type[T]:
    """Make a class of settings of a class whose fields are declared by `setting`."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


def rows(cls: type[Settings]) -> tuple[Row, ...]:
    """The settings of a class, in the order of their declaration."""
    hints = typing.get_type_hints(cls)
    # Only `settings` makes these classes, and what it makes are dataclasses.
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    return tuple(_row(field, hints[field.name]) for field in fields)


def _row(field: dataclasses.Field[Any], hint: object) -> Row:
    declared: _Declared = field.metadata[_ROW]
    factory: Any = field.default_factory
    has_factory = factory is not dataclasses.MISSING
    default: Any = field.default
    required = default is dataclasses.MISSING and not has_factory
    return Row(
        name=field.name,
        key=declared.key or field.name,
        sentence=declared.sentence,
        form=declared.form or form_of(hint),
        reload=declared.reload,
        secret=declared.secret,
        option=declared.option,
        required=required,
        least=declared.least,
        most=declared.most,
        default=factory if has_factory else lambda: default,
        default_text=declared.default_text,
    )

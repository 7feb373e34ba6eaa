"""From a file and options to a class of settings, or to every mistake in them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from finial.core.errors import Finding, FinialError, Kind, Reason, RefusedError, shown
from finial.runtime import files
from finial.runtime.config.declare import Row, Settings, rows
from finial.runtime.config.document import Document, DocumentError, read_document
from finial.runtime.config.forms import did_you_mean, nearest

S = TypeVar("S", bound=Settings)

_FILE = Reason("settings-file", Kind.INVALID, hint="The file has to be TOML in UTF-8.")
_UNKNOWN = Reason("settings-unknown", Kind.INVALID, hint="Correct the key or take it out.")
_VALUE = Reason("settings-value", Kind.INVALID)
_MISSING = Reason("settings-missing", Kind.INVALID)
_TOGETHER = Reason("settings-together", Kind.INVALID)


class SettingsError(RefusedError):
    """Settings that a process cannot start with; `findings` lists every mistake."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings, and what is to be said about them all the same.

    Args:
        settings: The values.
        warnings: One line each.
    """

    settings: S
    warnings: tuple[str, ...] = ()


def read_file(path: Path) -> Document:
    """The document in a settings file.

    Raises:
        FileError: The file cannot be read.
        SettingsError: It is no TOML.
    """
    data = files.read(path)
    try:
        return read_document(str(path), data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError.because(_FILE, "it is not UTF-8", where=f"{path}:{line}") from error
    except DocumentError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise SettingsError.because(_FILE, str(error), where=where) from error


def load(cls: type[S], *, file: Path | None = None, options: Mapping[str, object] | None = None) -> Loaded[S]:
    """The settings of a process: an option goes before the file, the file before the default.

    Args:
        cls: A class made by `settings`.
        file: A TOML file.
        options: What was given on the command line, by the names of the fields; None counts as not given.

    Raises:
        FileError: The file cannot be read.
        SettingsError: Something is wrong with them; every mistake is a finding.
    """
    return resolve(cls, Document() if file is None else read_file(file), options or {})


def resolve(cls: type[S], document: Document, options: Mapping[str, object]) -> Loaded[S]:
    """As `load`, from a document that has been read. Pure.

    Raises:
        SettingsError: Something is wrong with them.
    """
    declared = rows(cls)
    findings = list(_unknown(document, {row.key for row in declared}))
    values: dict[str, object] = {}
    for row in declared:
        given = False
        for raw, where in _given(row, document, options):
            given = True
            findings += _put(values, row, (raw, where))
        if not given and row.required:
            findings.append(_missing(row))
        elif not given:
            values[row.name] = row.default()
    if findings:
        raise SettingsError(findings, subject=document.name)
    made = cls(**values)
    remarks = list(made.remarks())
    wrong = [Finding(_TOGETHER, remark.message, ", ".join(remark.keys)) for remark in remarks if remark.wrong]
    if wrong:
        raise SettingsError(wrong, subject=document.name)
    return Loaded(made, tuple(f"{', '.join(each.keys)}: {each.message}" for each in remarks))


def _given(row: Row, document: Document, options: Mapping[str, object]) -> Iterator[tuple[object, str]]:
    """What was written for a setting and where; the last one holds."""
    found: object = document.table
    for word in row.key.split("."):
        found = found.get(word) if isinstance(found, Mapping) else None
    if found is not None:
        yield found, document.where(row.key)
    given = options.get(row.name)
    if given is not None and not (row.form.many and given == ()):
        yield given, row.flag


def _put(values: dict[str, object], row: Row, written: tuple[object, str]) -> Iterator[Finding]:
    raw, where = written
    try:
        values[row.name] = row.read(raw)
    except RefusedError as error:
        for each in error.findings:
            yield Finding(each.reason, _safe(row, each.message), where)
    except (ValueError, FinialError) as error:
        yield Finding(_VALUE, _safe(row, str(error)), where)


def _safe(row: Row, message: str) -> str:
    return "the value cannot be used" if row.secret else message


def _missing(row: Row) -> Finding:
    return Finding(_MISSING, f"not set: give {row.flag}, or {row.key} in the file named by --config", row.key)


def _unknown(document: Document, known: set[str]) -> Iterator[Finding]:
    """Keys that no setting has, and values where a table belongs."""
    tables = {key.rpartition(".")[0] for key in known} - {""}

    def walk(table: Mapping[str, object], path: str) -> Iterator[Finding]:
        for word, value in table.items():
            key = f"{path}.{word}" if path else word
            if key in known:
                continue
            if key in tables and isinstance(value, Mapping):
                yield from walk(value, key)
            elif key in tables:
                yield Finding(_VALUE, "not a table", document.where(key))
            else:
                yield Finding(
                    _UNKNOWN,
                    f"unknown key{did_you_mean(_nearest_key(key, known))}",
                    document.where(_printable(key)),
                )

    return walk(document.table, "")


def _nearest_key(key: str, known: set[str]) -> str | None:
    """The known key most like one, compared as a whole, then by the last words."""
    last = {each.rpartition(".")[2]: each for each in known}
    word = nearest(key.rpartition(".")[2], last)
    return nearest(key, known) or (last[word] if word else None)


def _printable(key: str) -> str:
    return key if key.isprintable() and key.isascii() else shown(key)

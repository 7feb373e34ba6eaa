"""Files of registration entries: JSON, laid out as SPIRE has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from finial.cli.inputs import InputError, Inputs
from finial.core.errors import Finding, Kind, Reason
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.runtime.text import is_unicode
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import id_message

T = TypeVar("T", str, int, bool)

_FILE = Reason(
    "entry-file",
    Kind.INVALID,
    hint='The file has the form {"entries": [{"spiffe_id": ..., "parent_id": ..., "selectors": [...]}]}.',
)
_SHORT, _LONG = 1 << 31, 1 << 63  # what numbers of the API's messages stay below


def read_entries(data: bytes, name: str) -> list[types.Entry]:
    """The entries in a file; names are compared without case, and unknown ones are passed over.

    Args:
        data: JSON.
        name: Of the file, for messages.

    Raises:
        InputError: It is no such file; every mistake is a finding.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError([Finding(_FILE, f"no JSON: {error}", name)]) from error
    found = _folded(document).get("entries") if isinstance(document, dict) else None
    if not isinstance(found, list) or not found:
        raise InputError([Finding(_FILE, "there is no list of entries", name)])
    inputs = Inputs()
    entries = [_entry(_object(inputs, f"{name}: entries[{at}]", each)) for at, each in enumerate(found)]
    inputs.check()
    return entries


def set_attributes(entry: types.Entry, *, no_prefetch: bool, include_jti: bool) -> None:
    """Give an entry the switches that are rarely used, and no message for them when both are off."""
    if no_prefetch or include_jti:
        entry.additional_attributes.disable_x509_svid_prefetch = no_prefetch
        entry.additional_attributes.jwt_svid_include_jti = include_jti


def _folded(table: Mapping[str, object]) -> dict[str, object]:
    return {name.lower(): value for name, value in table.items()}


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object, where it stands, and where its mistakes go."""

    inputs: Inputs
    where: str
    members: Mapping[str, object]

    def value(self, name: str, otherwise: T) -> T:
        """A member of the type of `otherwise`, which stands for one that is missing."""
        value = self.members.get(name)
        if value is None:
            return otherwise
        if type(value) is type(otherwise) and is_unicode(str(value)):
            return value
        self.wrong(name, f"not {_WORDS[type(otherwise)]}")
        return otherwise

    def number(self, name: str, below: int) -> int:
        """A whole number that is not negative."""
        value = self.value(name, 0)
        if 0 <= value < below:
            return value
        self.wrong(name, f"{value} is not between 0 and {below - 1}")
        return 0

    def items(self, name: str) -> Iterator[tuple[str, object]]:
        """The items of a list, each with the place where it stands."""
        value = self.members.get(name)
        if value is not None and not isinstance(value, list):
            self.wrong(name, "not a list")
            return
        yield from ((f"{name}[{at}]", each) for at, each in enumerate(value or ()))

    def texts(self, name: str) -> list[str]:
        """The texts of a list."""
        found = []
        for where, each in self.items(name):
            if isinstance(each, str) and is_unicode(each):
                found.append(each)
            else:
                self.wrong(where, "not text")
        return found

    def wrong(self, name: str, message: str) -> None:
        """Note a mistake in a member."""
        self.inputs.wrong(f"{self.where}.{name}", message)

    def read(self, name: str, make: Callable[[], _R]) -> _R | None:
        """What `make` makes of a member; None, and a finding, when it refuses."""
        return self.inputs.take(f"{self.where}.{name}", make)


_R = TypeVar("_R")
_WORDS: Mapping[type, str] = {str: "text", int: "a whole number", bool: "true or false"}


def _object(inputs: Inputs, where: str, value: object) -> _Object:
    if value is not None and not isinstance(value, dict):
        inputs.wrong(where, "not an object")
    return _Object(inputs, where, _folded(value) if isinstance(value, dict) else {})


def _entry(given: _Object) -> types.Entry:
    entry = types.Entry(
        id=given.value("entry_id", ""),
        spiffe_id=_id(given, "spiffe_id"),
        parent_id=_id(given, "parent_id"),
        selectors=list(_selectors(given)),
        x509_svid_ttl=given.number("x509_svid_ttl", _SHORT),
        jwt_svid_ttl=given.number("jwt_svid_ttl", _SHORT),
        federates_with=list(_domains(given)),
        dns_names=given.texts("dns_names"),
        hint=given.value("hint", ""),
        admin=given.value("admin", False),
        downstream=given.value("downstream", False),
        store_svid=given.value("store_svid", False),
        expires_at=given.number("entryexpiry", _LONG),
    )
    more = _object(
        given.inputs, f"{given.where}.additional_attributes", given.members.get("additional_attributes")
    )
    set_attributes(
        entry,
        no_prefetch=more.value("disable_x509_svid_prefetch", False),
        include_jti=more.value("jwt_svid_include_jti", False),
    )
    return entry


def _id(given: _Object, name: str) -> types.SPIFFEID | None:
    found = given.read(name, lambda: SpiffeID(given.value(name, "")))
    return None if found is None else id_message(found)


def _selectors(given: _Object) -> Iterator[types.Selector]:
    for where, each in given.items("selectors"):
        one = _object(given.inputs, f"{given.where}.{where}", each)
        found = given.read(where, partial(_selector, one))
        if found is not None:
            yield types.Selector(type=found.type, value=found.value)


def _selector(given: _Object) -> Selector:
    return Selector(given.value("type", ""), given.value("value", ""))


def _domains(given: _Object) -> Iterator[str]:
    for at, text in enumerate(given.texts("federates_with")):
        found = given.read(f"federates_with[{at}]", partial(TrustDomain.from_name_or_id, text))
        if found is not None:
            yield found.name

"""The file of `finial dev`: its settings, and who the processes of the machine are; see `EXAMPLE`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, Literal

from finial.cli.dev.entries import ID_PREFIX
from finial.cli.dev.machine import Machine, own_id, own_selector
from finial.cli.inputs import Inputs, seconds
from finial.core.entry import RegistrationEntry
from finial.core.errors import EntryError, Finding, Kind, Reason, RefusedError, shown
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector, canonical
from finial.rpc import Tcp
from finial.runtime.config import (
    Form,
    Reload,
    Remark,
    Settings,
    SettingsError,
    address,
    default_data_dir,
    default_socket,
    did_you_mean,
    nearest,
    rows,
    setting,
    settings,
)
from finial.runtime.config.document import Document
from finial.runtime.config.load import read_file, resolve

EXAMPLE: Final = """\
trust_domain = "example.org"
[[identity]]
id = "/web"                     # or the whole SPIFFE ID
selectors = ["unix:uid:1000"]   # and, or instead: user = "www-data", path = "/usr/bin/python3"
ttl = "5m"                      # these three need not be there
dns_names = ["web.example.org"]
hint = "front"
"""

_DEFAULT_DOMAIN = "dev.local"
_LONGEST_SOCKET = 107  # bytes; what the kernel takes
_KEYS = ("id", "selectors", "user", "path", "ttl", "dns_names", "hint")
# What registration entries call the things that the file calls otherwise.
_FILE_WORDS = {"spiffe_id": "id", "x509_svid_ttl": "ttl"}
_UNKNOWN = Reason("dev-unknown", Kind.INVALID, hint="Correct the key or take it out.")
_FIXED = Reason("dev-restart", Kind.INVALID, hint="End finial dev and start it again.")
_NONE = timedelta(0)


def _tables(raw: object) -> tuple[Mapping[str, object], ...]:
    if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
        raise ValueError("not a list of tables: write [[identity]] above each")
    return tuple(raw)


@settings
class DevSettings(Settings):
    """What a person decides about their trust domain; nothing has to be given."""

    trust_domain: TrustDomain = setting("The trust domain.", default=TrustDomain(_DEFAULT_DOMAIN))
    data_dir: Path | None = setting(
        "The folder of its keys and database.",
        default=None,
        default_text="a folder for each trust domain, below the user's state",
    )
    socket: Path = setting(
        "The Unix socket of the Workload API.",
        default_factory=lambda: default_socket("dev").with_name("agent.sock"),
    )
    bind: Tcp = setting(
        "Where agents of other machines would reach the server.",
        default=Tcp("127.0.0.1", 0),
        form=address(Tcp),
        default_text="any free port of 127.0.0.1",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "From which level on events are logged.", default="warning"
    )
    identity: tuple[Mapping[str, object], ...] = setting(
        "Who the processes of this machine are: a table [[identity]] for each.",
        default=(),
        form=Form("TABLES", _tables),
        option=False,
        reload=Reload.LIVE,
    )

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.data_dir or default_data_dir(f"dev-{self.trust_domain}")

    @property
    def admin_socket(self) -> Path:
        """The Unix socket for administration, in the server's part of the data folder, which is closed."""
        return self.folder / "server" / "server.sock"

    def remarks(self) -> Iterator[Remark]:
        """The folder must not be too deep for the socket in it."""
        if len(os.fsencode(self.admin_socket)) > _LONGEST_SOCKET:
            message = f"{self.folder} is too long: sockets have at most {_LONGEST_SOCKET} bytes"
            yield Remark(("data_dir",), message)


@dataclass(frozen=True, slots=True)
class Plan:
    """A file that can be carried out, with the options of the command line.

    Args:
        settings: The values.
        entries: The registration entries of the identities.
        document: Where they stand.
    """

    settings: DevSettings
    entries: tuple[RegistrationEntry, ...]
    document: Document


class PlanError(RefusedError):
    """The file cannot be carried out; `findings` lists every mistake."""


def read_plan(file: Path | None, options: Mapping[str, object], machine: Machine) -> Plan:
    """What a file and options ask for.

    Args:
        file: The file; None makes one identity, that of the user's own processes.
        options: By the names of the settings; they go before the file.
        machine: Knows its users and programs.

    Raises:
        FileError: The file cannot be read.
        RefusedError: Something is wrong with it; every mistake is a finding.
    """
    document = Document() if file is None else read_file(file)
    inputs = Inputs()
    chosen = None
    try:
        chosen = resolve(DevSettings, document, options).settings
        tables = chosen.identity
    except SettingsError as error:
        # The identities are looked at all the same, for every mistake to be told at once.
        inputs.findings += error.findings
        tables = _readable_tables(document)
    place = _Place(document, inputs, machine, None if chosen is None else chosen.trust_domain)
    entries = tuple(_entries(tables, place))
    if chosen is None or inputs.findings:
        raise PlanError(inputs.findings, subject=document.name)
    if file is None:
        entries = (_own_entry(chosen.trust_domain, machine),)
    return Plan(chosen, entries, document)


def check_change(old: DevSettings, new: Plan) -> None:
    """Return when a plan may take the place of the one that is carried out.

    Args:
        old: What `finial dev` runs with.
        new: What the file says now.

    Raises:
        PlanError: It changes what only a new start can change.
    """
    findings = [
        Finding(_FIXED, "takes effect at the next start only", new.document.where(row.key))
        for row in rows(DevSettings)
        if row.reload is Reload.RESTART and getattr(old, row.name) != getattr(new.settings, row.name)
    ]
    if findings:
        raise PlanError(findings, subject=new.document.name)


def node_id(trust_domain: TrustDomain) -> SpiffeID:
    """The parent of the entries: the agent of `finial dev`, whichever agent ID it has at the time."""
    return SpiffeID.from_parts(trust_domain, "finial", "dev", "node")


def _entry_id(spiffe_id: SpiffeID, selectors: Sequence[Selector]) -> str:
    """Stays the same while the same processes are the same identity, so that a change is an update."""
    said = "\n".join([spiffe_id.text, *map(str, canonical(selectors))])
    return f"{ID_PREFIX}{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _own_entry(trust_domain: TrustDomain, machine: Machine) -> RegistrationEntry:
    me = machine.me()
    spiffe_id, selectors = own_id(trust_domain, me), (own_selector(me),)
    return RegistrationEntry(
        id=_entry_id(spiffe_id, selectors),
        spiffe_id=spiffe_id,
        parent_id=node_id(trust_domain),
        selectors=selectors,
    )


def _readable_tables(document: Document) -> tuple[Mapping[str, object], ...]:
    try:
        return _tables(document.table.get("identity", []))
    except ValueError:
        return ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where identities stand, where their mistakes go, and where they are to be at home."""

    document: Document
    inputs: Inputs
    machine: Machine
    trust_domain: TrustDomain | None  # None when the file does not tell it as it should

    def where(self, number: int, key: str = "") -> str:
        """The place of a key of an identity, or of the identity."""
        return self.document.where(f"identity[{number}]{'.' if key else ''}{key}")


def _entries(tables: Sequence[Mapping[str, object]], place: _Place) -> Iterator[RegistrationEntry]:
    """The entries of those identities that are right; the mistakes in the others are noted."""
    seen: dict[str, int] = {}
    for number, table in enumerate(tables):
        entry = _Identity(number, table, place).entry()
        if entry is None:
            continue
        first = seen.setdefault(entry.id, number)
        if first != number:
            message = f"the same ID for the same processes as identity[{first}]"
            place.inputs.wrong(place.where(number), message)
        else:
            yield entry


@dataclass(frozen=True, slots=True)
class _Identity:
    """One table of the file."""

    number: int
    table: Mapping[str, object]
    place: _Place

    def entry(self) -> RegistrationEntry | None:
        """The entry that it describes; None when something is wrong with it, which is noted."""
        inputs = self.place.inputs
        before = len(inputs.findings)
        self._unknown_keys()
        spiffe_id = inputs.take(self._where("id"), self._id)
        selectors = self._selectors()
        ttl = inputs.take(self._where("ttl"), self._ttl)
        dns_names = inputs.take(self._where("dns_names"), lambda: self._texts("dns_names"))
        hint = inputs.take(self._where("hint"), lambda: self._text("hint"))
        if spiffe_id is None or len(inputs.findings) > before:
            return None
        try:
            return RegistrationEntry(
                id=_entry_id(spiffe_id, selectors),
                spiffe_id=spiffe_id,
                parent_id=node_id(spiffe_id.trust_domain),
                selectors=tuple(selectors),
                x509_svid_ttl=ttl or _NONE,
                dns_names=tuple(dns_names or ()),
                hint=hint or "",
            )
        except EntryError as error:
            for each in error.findings:
                where = self._where(_FILE_WORDS.get(each.where, each.where))
                inputs.findings.append(Finding(each.reason, each.message, where))
            return None

    def _where(self, key: str) -> str:
        return self.place.where(self.number, key)

    def _unknown_keys(self) -> None:
        for key in self.table:
            if key not in _KEYS:
                message = f"unknown key{did_you_mean(nearest(key, _KEYS))}"
                printable = key if key.isprintable() and key.isascii() else shown(key)
                self.place.inputs.findings.append(Finding(_UNKNOWN, message, self._where(printable)))

    def _id(self) -> SpiffeID:
        text, trust_domain = self._text("id"), self.place.trust_domain
        if not text:
            raise ValueError("not set: write the SPIFFE ID, or its path, such as /web")
        if text.startswith("/"):
            return SpiffeID.from_path(trust_domain or TrustDomain(_DEFAULT_DOMAIN), text)
        spiffe_id = SpiffeID(text)
        if trust_domain is not None and spiffe_id.trust_domain != trust_domain:
            raise ValueError(f"{spiffe_id} is not in trust domain {trust_domain}")
        return spiffe_id

    def _selectors(self) -> list[Selector]:
        inputs, machine = self.place.inputs, self.place.machine
        where = self._where("selectors")
        texts = inputs.take(where, lambda: self._texts("selectors"))
        found = inputs.take_all(where, Selector.parse, texts or ())
        shortcuts: tuple[tuple[str, Callable[[str], Selector]], ...] = (
            ("user", machine.user),
            ("path", machine.program),
        )
        for key, read in shortcuts:
            if key in self.table:
                selector = inputs.take(self._where(key), partial(self._shortcut, key, read))
                found += [] if selector is None else [selector]
        if not {"selectors", "user", "path"} & set(self.table):
            inputs.wrong(where, "not set: say which processes, by selectors, user or path")
        return found

    def _shortcut(self, key: str, read: Callable[[str], Selector]) -> Selector:
        return read(self._text(key))

    def _ttl(self) -> timedelta:
        raw = self.table.get("ttl", 0)
        return timedelta(seconds=seconds(raw if isinstance(raw, str) else str(raw)))

    def _text(self, key: str) -> str:
        value = self.table.get(key, "")
        if not isinstance(value, str):
            raise ValueError(f"{value} is not text")  # noqa: TRY004 - what Inputs takes
        return value

    def _texts(self, key: str) -> list[str]:
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError('not a list of texts, such as ["a", "b"]')
        return value


class PlanFile:
    """The file on the disk, looked at again and again.

    Args:
        path: Of the file; None for no file, which never changes.
        options: By the names of the settings.
        machine: Knows its users and programs.
    """

    def __init__(self, path: Path | None, options: Mapping[str, object], machine: Machine) -> None:
        self.path = path
        self._options = options
        self._machine = machine
        self._read: tuple[int, ...] | None = None  # how the file was when it was last read

    def changed(self) -> bool:
        """Whether it is another than when it was last read."""
        return self._state() != self._read

    def read(self) -> Plan:
        """What it says now; raises as `read_plan`."""
        self._read = self._state()  # before its content: what changes meanwhile is seen at the next look
        return read_plan(self.path, self._options, self._machine)

    def _state(self) -> tuple[int, ...] | None:
        if self.path is None:
            return None
        try:
            status = self.path.stat()
        except OSError:
            return ()  # reading it will say why
        return status.st_mtime_ns, status.st_size, status.st_ino

"""One operator's day at a server, command by command, so that servers and command lines can be compared."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.scenarios import MakeAgent
from support.site import ServerDaemon
from support.workloads import NODE

_SECONDS = 30.0  # for one command
_DOMAIN = "spiffe://example.org"
_FOREIGN = "spiffe://other.test"
_PARENT = ("-parentID", f"{_DOMAIN}{NODE}")
_ANYONE = ("-selector", "unix:uid:0")
_WEB = ("-entryID", "web1", *_PARENT, "-spiffeID", f"{_DOMAIN}/web", *_ANYONE, "-selector", "unix:gid:0")

# What differs from one run to the next.
_MASKS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL), r"PEM \1"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d( [+-]\d{4} \w+|Z)?"), "INSTANT"),
    (re.compile(r"\b[1-9]\d{9}\b"), "SECONDS"),
    (re.compile(r"\b\d{30,}\b"), "SERIAL"),
    (re.compile(r"\bMI[\w+/]{60,}=*"), "DER"),
    (re.compile(r'("(x|y|kid|key_id|public_key)": ?)"[^"]+"'), r'\1"KEY"'),
)


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        words: The command and its options in SPIRE's spelling.
        ours: Why our server's answer is another on purpose; empty if it is not.
    """

    words: tuple[str, ...]
    ours: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a command, without what differs from one run to the next."""

    code: int
    out: str
    error: str

    @property
    def value(self) -> object:
        """The JSON on standard output; None if there is none."""
        return json.loads(self.out) if self.out.strip() else None


def steps(agent: str, folder: Path) -> Iterator[Step]:
    """The commands.

    Args:
        agent: The ID of an agent that has joined.
        folder: For the file with a foreign bundle.
    """
    web, show = f"{_DOMAIN}/web", ("entry", "show")
    yield Step(("entry", "create", *_WEB, "-x509SVIDTTL", "60", "-dns", "web.example", "-hint", "h"))
    yield Step(("entry", "create", *_WEB))
    wording = "the message says which field"
    yield Step(("entry", "create", *_PARENT, "-spiffeID", f"{_DOMAIN}/spire/x", *_ANYONE), ours=wording)
    code = "a precondition is missing, which is no fault of the server"
    unknown = ("-federatesWith", "spiffe://nowhere.test")
    yield Step(("entry", "create", *_PARENT, "-spiffeID", f"{_DOMAIN}/y", *_ANYONE, *unknown), ours=code)
    yield Step(("entry", "create", "-node", "-spiffeID", f"{_DOMAIN}/alias", "-selector", "a:b"))
    for which in ((), ("-entryID", "web1"), ("-entryID", "none"), _ANYONE, _PARENT, ("-spiffeID", web)):
        yield Step((*show, *which))
    yield Step(("entry", "count"))
    yield Step(("entry", "update", *_WEB, "-hint", "new", "-x509SVIDTTL", "120"))
    yield Step(("entry", "update", "-entryID", "none", *_PARENT, "-spiffeID", web, *_ANYONE))
    yield Step(("entry", "delete", "-entryID", "web1"))
    yield Step(("entry", "delete", "-entryID", "web1"))
    yield from _agent_steps(agent)
    yield from _bundle_steps(folder / "foreign.pem")
    yield Step(("x509", "mint", "-spiffeID", f"{_DOMAIN}/minted", "-ttl", "5m"))
    yield Step(("x509", "mint", "-spiffeID", "spiffe://else.test/minted"))


def _agent_steps(agent: str) -> Iterator[Step]:
    yield Step(("token", "generate"))
    yield Step(("token", "generate", "-spiffeID", f"{_DOMAIN}/node2", "-ttl", "60"))
    yield Step(("token", "generate", "-ttl", "-5"))
    for which in ((), ("-attestationType", "join_token"), ("-attestationType", "x"), ("-banned=true",)):
        yield Step(("agent", "list", *which))
    yield Step(("agent", "count"))
    yield Step(("agent", "show", "-spiffeID", agent))
    yield Step(("agent", "show", "-spiffeID", f"{_DOMAIN}/spire/agent/x"))
    yield Step(("agent", "ban", "-spiffeID", agent))
    yield Step(("agent", "show", "-spiffeID", agent))
    yield Step(("agent", "evict", "-spiffeID", agent))
    yield Step(("agent", "evict", "-spiffeID", agent))


def _bundle_steps(file: Path) -> Iterator[Step]:
    foreign, from_file = ("-id", _FOREIGN), ("-path", str(file))
    number = "the bundle counts from one, and the first key for JWT-SVIDs is its second change"
    yield Step(("bundle", "show", "-format", "spiffe"), ours=number)
    yield Step(("bundle", "set", *foreign, *from_file))
    yield Step(("bundle", "set", "-id", _DOMAIN, *from_file))
    yield Step(("bundle", "list"))
    yield Step(("bundle", "list", *foreign))
    yield Step(("bundle", "list", "-id", "spiffe://none.test"))
    federated = ("-spiffeID", f"{_DOMAIN}/fed", "-federatesWith", _FOREIGN, "-entryID", "fed1")
    yield Step(("entry", "create", *_PARENT, *federated, *_ANYONE))
    wording = "the message does not name the store"
    yield Step(("bundle", "delete", *foreign), ours=wording)
    yield Step(("bundle", "delete", *foreign, "-mode", "dissociate"))
    yield Step(("bundle", "delete", *foreign))
    revision = "the entry gets a new revision, so that agents are told"
    yield Step(("entry", "show", "-entryID", "fed1"), ours=revision)


async def run_command(
    program: Sequence[str | Path], words: Sequence[str], socket: Path, form: str
) -> Outcome:
    """Run a command at a server.

    Args:
        program: The command line, up to the word `server`.
        words: The command and its options.
        socket: Of the server.
        form: `pretty` or `json`.
    """
    pipe = asyncio.subprocess.PIPE
    where = ("-socketPath", str(socket), "-output", form)
    at = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    process = await asyncio.create_subprocess_exec(
        *map(str, program), *words[:at], *where, *words[at:], stdout=pipe, stderr=pipe
    )
    try:
        out, error = await asyncio.wait_for(process.communicate(), _SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Outcome(process.returncode, _masked(out.decode()), _masked(error.decode()))


def _masked(text: str) -> str:
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text


async def perform(
    program: Sequence[str | Path], server: ServerDaemon, make_agent: MakeAgent, *, form: str
) -> list[tuple[Step, Outcome]]:
    """Let a command line do it all at a server that has not started yet.

    Args:
        program: The command line, up to the word `server`.
        server: The server.
        make_agent: For the agent that the operator finds.
        form: `pretty` or `json`.
    """
    async with server:
        token, bundle = await server.control.token(agent=NODE), await server.bundle_file()
        async with make_agent(server=server, token=token, bundle=bundle) as joined:
            agent = joined.id
        (server.folder / "foreign.pem").write_text(bundle.read_text())
        return [
            (step, await run_command(program, step.words, server.socket, form))
            for step in steps(agent, server.folder)
        ]

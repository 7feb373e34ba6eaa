from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from finial import __version__
from finial.cli.main import main
from finial.cli.root import root
from finial.core.revision import STANDARDS, STANDARDS_COMMIT
from finial.runtime import collector
from finial.wire.gen import spire_api_types as types
from support.admin import FakeServer, Finial


def commands(command: click.Command, path: str = "finial") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from commands(found, f"{path} {name}")


ALL = dict(commands(root))
LEAVES = [path for path, command in ALL.items() if not isinstance(command, click.Group)]


def test_the_commands_are_these() -> None:
    assert set(LEAVES) == {
        "finial server run",
        *(f"finial server entry {name}" for name in ("create", "show", "update", "delete", "count")),
        *(f"finial server agent {name}" for name in ("list", "show", "count", "ban", "evict")),
        "finial server token generate",
        *(f"finial server bundle {name}" for name in ("show", "list", "set", "delete")),
        "finial server authority show",
        "finial server authority rotate",
        "finial server authority prepare",
        "finial server authority activate",
        "finial server authority taint",
        "finial server authority revoke",
        *(f"finial server {kind} mint" for kind in ("x509", "jwt", "wit")),
        "finial server healthcheck",
        "finial agent run",
        *(f"finial agent api fetch {kind}" for kind in ("x509", "jwt", "wit")),
        "finial agent api validate jwt",
        "finial agent api watch",
        "finial agent healthcheck",
        "finial dev",
    }


@pytest.mark.parametrize("path", LEAVES)
def test_each_command_has_help_with_an_example(path: str, finial: Finial) -> None:
    found = finial(*path.split()[1:], "--help")
    assert found.code == 0
    head, _, examples = found.out.partition("\nExamples:\n")
    assert f"Usage: {path}" in head
    assert path in examples
    for option in ALL[path].params:
        if isinstance(option, click.Option):
            assert option.help, f"{option.name} of {path} has no help"


@pytest.mark.parametrize("path", [path for path in ALL if path not in LEAVES])
def test_each_group_lists_its_commands(path: str, finial: Finial) -> None:
    group = ALL[path]
    assert isinstance(group, click.Group)
    found = finial(*path.split()[1:], "--help")
    assert found.code == 0
    assert all(f"\n  {name} " in found.out for name in group.list_commands(click.Context(group)))


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys\nfrom finial.cli.main import main\nmain(['--help'])\n"
        "slow = ('sqlalchemy', 'google.protobuf', 'rich', 'msgspec', 'cryptography', 'asyncio')\n"
        "sys.exit(repr([m for m in slow if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "''"


def test_administering_does_not_import_the_server() -> None:
    code = (
        "import sys\nimport finial.cli.server.entry, finial.cli.server.run, finial.cli.agent.run\n"
        "import finial.cli.server.authority_rotate\n"
        "sys.exit(repr([m for m in ('sqlalchemy', 'rich', 'finial.server.app', 'finial.agent.app')"
        " if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "''"


@pytest.mark.spec("STAB-01")
def test_the_version_is_told(finial: Finial) -> None:
    first, second = finial("--version").out.splitlines()
    assert first == f"finial {__version__}"
    assert second == f"SPIFFE standards of {STANDARDS} ({STANDARDS_COMMIT[:12]})"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("servr", "there is no command 'servr'; did you mean server? See: finial --help"),
        ("xyz", "there is no command 'xyz'. See: finial --help"),
        ("server entry shw", "there is no command 'shw'; did you mean show? See: finial server entry --help"),
        (
            "server entry show --parnt-id x",
            "there is no option --parnt-id; did you mean --parent-id? See: finial server entry show --help",
        ),
        (
            "server entry create --ttl 3",
            "there is no option --ttl. See: finial server entry create --help",
        ),
        ("server -x", "there is no option -x. See: finial server --help"),
        (
            "server entry show -zzzzzzz x",
            "there is no option --zzzzzzz. See: finial server entry show --help",
        ),
        (
            "server agent ban",
            "Missing option '--spiffe-id'. See: finial server agent ban --help",
        ),
        (
            "agent api watch --output",
            "Option '--output' requires an argument. See: finial agent api watch --help",
        ),
        (
            "server entry create --admin=maybe",
            "Option '--admin' does not take a value. See: finial server entry create --help",
        ),
    ],
)
def test_words_that_are_not_understood_are_one_line_and_exit_2(words: str, line: str, finial: Finial) -> None:
    found = finial(*words.split())
    assert (found.code, found.out, found.err) == (2, "", f"finial: error: {line}\n")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("server entry create --hint", "--hint"),
        ("server entry delete --entry-id", "--entry-id"),
        ("server entry show --selector", "--selector"),
        ("server agent list -attestationType", "--attestation-type"),
        ("agent run --server a:1 --trust-domain", "--trust-domain"),
    ],
)
def test_bytes_that_are_no_text_are_refused(words: str, option: str, finial: Finial) -> None:
    found = finial(*words.split(), "a\udcff")
    assert found.code == 2
    assert found.err.startswith(
        f"finial: error: Invalid value for '{option}': 'a\\udcff' is not UTF-8. See: finial "
    )
    assert found.err.count("\n") == 1


def test_the_bytes_of_a_path_are_taken_as_they_are(finial: Finial, tmp_path: Path) -> None:
    found = finial("server", "healthcheck", "--socket", f"{tmp_path}/\udcff")
    assert found.code == 1
    assert "\\udcff: No such file or directory" in found.err


def _in_a_shell(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    words = f"{sys.executable} -m finial.cli.main {command}"
    return subprocess.run(
        ["/bin/sh", "-c", words], capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])  # it fails at the end, or at once
def test_an_output_that_cannot_be_written_is_named(unbuffered: str) -> None:
    done = _in_a_shell("--version > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (
        1,
        "finial: error: cannot write the output: No space left on device\n",
    )


def test_an_error_of_the_system_that_names_a_file_is_not_about_the_output(
    finial: Finial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "/x")

    monkeypatch.setattr("finial.cli.server.token.ask", fail)
    assert "unexpected PermissionError" in finial("server", "token", "generate").err


def test_an_output_that_is_closed_is_no_error() -> None:
    done = _in_a_shell("--version >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_locale_that_knows_less_changes_the_spelling_only(server: FakeServer) -> None:
    entry = types.Entry(id="e", hint="\u65e5")
    server.answers["GetEntry"] = lambda _request: entry
    done = _in_a_shell(
        f"server entry show --entry-id e --socket {server.socket}", PYTHONIOENCODING="iso-8859-1:strict"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ": \\u65e5" in done.stdout


def test_an_unexpected_error_is_one_line(finial: Finial, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("finial.cli.server.token.ask", fail)
    found = finial("server", "token", "generate")
    assert found.code == 1
    assert found.err.startswith("finial: error: unexpected ZeroDivisionError: a b. This is a fault")
    assert found.err.count("\n") == 1
    shown = finial("--debug", "server", "token", "generate")
    assert "Traceback" in shown.err
    assert shown.err.splitlines()[-1] == found.err.strip()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_is_no_error(
    raised: type[BaseException], finial: Finial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise raised

    monkeypatch.setattr("finial.cli.server.token.ask", fail)
    assert finial("server", "token", "generate").code == 130


def test_without_click_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, finial: Finial) -> None:
    monkeypatch.delitem(sys.modules, "finial.cli.program")
    monkeypatch.setitem(sys.modules, "click", None)
    found = finial("--help")
    assert found.code == 1
    assert found.err.startswith("finial: error: this command needs a package that is not installed")


def test_a_reader_that_goes_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[tuple[int, int]] = []
    monkeypatch.setattr("finial.cli.program.os.dup2", lambda *numbers: closed.append(numbers))
    monkeypatch.setattr(
        "finial.cli.program.root.main", lambda *_a, **_k: (_ for _ in ()).throw(BrokenPipeError())
    )
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)
    assert main([]) == 1
    ((opened, replaced),) = closed
    os.close(opened)
    assert replaced == 1


def test_the_words_of_the_process_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        sys, "argv", ["finial", "server", "healthcheck", "--socket", str(tmp_path / "absent")]
    )
    starts: list[None] = []
    monkeypatch.setattr(collector, "rarely", lambda: starts.append(None))
    assert main() == 1
    assert len(starts) == 1  # the process is its own, so its start is not interrupted

"""What the file of `finial dev` says, and what is wrong with it."""

from __future__ import annotations

import os
import pwd
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from finial.cli.dev.file import EXAMPLE, PlanError, PlanFile, check_change, read_plan
from finial.cli.dev.machine import ThisMachine, User, own_id, own_selector
from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError, RefusedError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.rpc import Tcp

ORG = TrustDomain("example.org")
ME = pwd.getpwuid(os.geteuid()).pw_name


class FakeMachine:
    def me(self) -> User:
        return User(1000, "ann")

    def user(self, name: str) -> Selector:
        if name == "nobodyy":
            raise ValueError(f"no user {name}")
        return Selector("unix", f"user:{name}")

    def program(self, path: str) -> Selector:
        return Selector("unix", f"path:{path}.real")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dev.toml"


def entries(path: Path, text: str, **options: object) -> tuple[RegistrationEntry, ...]:
    path.write_text(text)
    return read_plan(path, options, FakeMachine()).entries


def mistakes(path: Path, text: str, **options: object) -> list[str]:
    with pytest.raises(RefusedError) as caught:
        entries(path, text, **options)
    return [str(each).removeprefix(f"{path}:") for each in caught.value.findings]


def test_the_example_of_the_help_is_understood(path: Path) -> None:
    (entry,) = entries(path, EXAMPLE)
    assert entry.spiffe_id == SpiffeID("spiffe://example.org/web")
    assert entry.selectors == (Selector("unix", "uid:1000"),)
    assert entry.x509_svid_ttl == timedelta(minutes=5)
    assert (entry.dns_names, entry.hint) == (("web.example.org",), "front")


def test_shortcuts_are_selectors_and_all_of_them_count(path: Path) -> None:
    text = '[[identity]]\nid = "/a"\nuser = "www"\npath = "/p"\nselectors = ["unix:gid:1"]\nttl = 30\n'
    (entry,) = entries(path, text)
    assert list(map(str, entry.selectors)) == ["unix:gid:1", "unix:path:/p.real", "unix:user:www"]
    assert entry.x509_svid_ttl == timedelta(seconds=30)
    assert entry.spiffe_id.trust_domain == TrustDomain("dev.local")


def test_without_a_file_ones_own_processes_have_ones_name() -> None:
    plan = read_plan(None, {"trust_domain": "example.org"}, FakeMachine())
    (entry,) = plan.entries
    assert entry.spiffe_id == SpiffeID("spiffe://example.org/ann")
    assert entry.selectors == (Selector("unix", "uid:1000"),)
    assert plan.settings.folder.name == "dev-example.org"


def test_an_option_goes_before_the_file(path: Path) -> None:
    path.write_text('trust_domain = "a"\nbind = "127.0.0.1:1"\n')
    options = {
        "trust_domain": "b",
        "bind": "127.0.0.1:2",
        "data_dir": "d",
        "log_level": "debug",
        "socket": "s",
    }
    plan = read_plan(path, options, FakeMachine())
    assert (plan.settings.trust_domain, plan.settings.bind) == (TrustDomain("b"), Tcp("127.0.0.1", 2))
    assert (plan.settings.folder, plan.settings.socket) == (Path("d"), Path("s"))
    assert plan.settings.log_level == "debug"
    assert plan.entries == ()


def test_the_id_of_an_entry_stays_while_the_same_processes_are_the_same(path: Path) -> None:
    first = '[[identity]]\nid = "/a"\nselectors = ["unix:uid:1", "unix:gid:2"]\n'
    (one,) = entries(path, first)
    (two,) = entries(
        path, first.replace('["unix:uid:1", "unix:gid:2"]', '["unix:gid:2", "unix:uid:1"]\nttl = "1m"')
    )
    (other,) = entries(path, first.replace("uid:1", "uid:3"))
    assert one.id == two.id != other.id


def test_every_mistake_is_told_with_its_line(path: Path) -> None:
    text = """\
trust_domian = "example.org"
[[identity]]
id = "/good"
selectors = ["unix:uid:1"]
[[identity]]
selector = ["unix:uid:1"]
id = "web"
ttl = "5 minutes"
dns_names = "web"
hint = 3
[[identity]]
id = "/a b"
user = "nobodyy"
path = 1
ttl = true
[[identity]]
id = "/c"
selectors = ["x", 1]
"""
    found = mistakes(path, text, bind="nowhere")
    assert Counter(line.split(":")[0] for line in found) == Counter(
        ["--bind", "1", "5", "6", "7", "8", "9", "10", "12", "13", "14", "15", "18"]
    )
    assert "1: trust_domian: unknown key; did you mean trust_domain?" in found
    assert "6: identity[1].selector: unknown key; did you mean selectors?" in found
    assert "13: identity[2].user: no user nobodyy" in found
    assert "14: identity[2].path: 1 is not text" in found
    assert '18: identity[3].selectors: not a list of texts, such as ["a", "b"]' in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("identity = 3", "1: identity: not a list of tables: write [[identity]] above each"),
        ("identity = [1]", "1: identity: not a list of tables: write [[identity]] above each"),
        (
            'trust_domain = "a"\n[[identity]]\nid = "spiffe://b/x"\nuser = "u"',
            "3: identity[0].id: spiffe://b/x is not in trust domain a",
        ),
        (
            '[[identity]]\nid = "/x"\nuser = "u"\n[[identity]]\nuser = "u"\nid = "/x"\nhint = "h"',
            "4: identity[1]: the same ID for the same processes as identity[0]",
        ),
        (
            '[[identity]]\nid = "/x"\nuser = "u"\ndns_names = ["*.*"]',
            "4: identity[0].dns_names: ",
        ),
        (
            '[[identity]]\nid = "/spire/x"\nuser = "u"',
            "2: identity[0].id: spiffe://dev.local/spire/x is in the ",
        ),
        (
            '[[identity]]\nid = "/x"\nuser = "u"\nttl = "500ms"',
            "4: identity[0].ttl: '500ms' is not a whole number",
        ),
        ('[[identity]]\nid = "/x"\nuser = "u"\n"ä" = 1', "1: identity[0].'\\xe4': unknown key"),
        ('[[identity]]\nid = "/x"\nselectors = []', "3: identity[0].selectors: selector list is empty"),
        ('identity = [{ id = "/x" }]', "1: identity[0].selectors: not set: say which processes"),
        ("[[identity]\n", "1: "),
    ],
)
def test_what_cannot_be_used_is_said(path: Path, text: str, found: str) -> None:
    (line,) = mistakes(path, text)
    assert line.startswith(found)


def test_a_wrong_trust_domain_is_one_mistake_and_not_one_more_for_each_identity(path: Path) -> None:
    text = 'trust_domain = "Example.org"\n[[identity]]\nid = "spiffe://example.org/x"\nuser = "u"\n'
    (line,) = mistakes(path, text)
    assert line.startswith("1: trust_domain: upper case")


def test_a_folder_too_deep_for_its_socket_is_refused(path: Path) -> None:
    deep = "/" + "d" * 100
    (line,) = mistakes(path, "", data_dir=deep)
    assert line == f"data_dir: {deep} is too long: sockets have at most 107 bytes"


def test_what_only_a_new_start_can_change_is_refused(path: Path) -> None:
    path.write_text('trust_domain = "a"\n')
    old = read_plan(path, {}, FakeMachine()).settings
    path.write_text('\ntrust_domain = "b"\nsocket = "/s"\n[[identity]]\nid = "/x"\nuser = "u"\n')
    new = read_plan(path, {}, FakeMachine())
    with pytest.raises(PlanError) as caught:
        check_change(old, new)
    assert [each.where for each in caught.value.findings] == [
        f"{path}:2: trust_domain",
        f"{path}:3: socket",
    ]
    check_change(new.settings, new)


def test_the_file_is_another_once_it_was_changed_or_is_gone(path: Path) -> None:
    path.write_text('trust_domain = "a"\n')
    plans = PlanFile(path, {}, FakeMachine())
    plans.read()
    assert not plans.changed()
    path.write_text('trust_domain = "ab"\n')
    assert plans.changed()
    assert plans.read().settings.trust_domain == TrustDomain("ab")
    path.unlink()
    assert plans.changed()
    with pytest.raises(FinialError, match="cannot read"):
        plans.read()
    assert not plans.changed()  # said once
    path.write_text('trust_domain = "ab"\n')
    assert plans.changed()
    assert not PlanFile(None, {}, FakeMachine()).changed()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ann", "/ann"),
        ("CORP\\ann b", "/CORP-ann-b"),
        ("ann@corp.example", "/ann-corp.example"),
        ("", "/uid-7"),
        ("..", "/uid-7"),
        ("spire", "/uid-7"),
    ],
)
def test_whatever_a_user_is_called_there_is_an_id(name: str, path: str) -> None:
    assert own_id(ORG, User(7, name)).path == path
    assert own_selector(User(7, name)) == Selector("unix", "uid:7")


def test_this_machine_knows_its_users_and_programs(tmp_path: Path) -> None:
    machine = ThisMachine()
    assert machine.me() == User(os.geteuid(), ME)
    assert machine.user(ME) == Selector("unix", f"user:{ME}")
    with pytest.raises(ValueError, match="there is no user 'no such user' on this machine"):
        machine.user("no such user")
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert machine.program(str(link)) == Selector("unix", f"path:{Path(sys.executable).resolve()}")
    for wrong, why in (("bin/true", "begin with /"), (str(tmp_path), "no file"), ("/no/such", "no file")):
        with pytest.raises(ValueError, match=why):
            machine.program(wrong)


def test_a_user_without_a_name_is_known_by_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert ThisMachine().me() == User(4_000_000, "")

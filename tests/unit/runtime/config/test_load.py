from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.ids import SpiffeID
from finial.runtime.config import (
    SIZE,
    Reload,
    Remark,
    Settings,
    SettingsError,
    load,
    rows,
    setting,
    settings,
)
from finial.runtime.files import FileError


@settings
class Sample(Settings):
    name: str = setting("What it is called.")
    ttl: timedelta = setting(
        "How long.", default=timedelta(hours=1), least=timedelta(seconds=1), reload=Reload.LIVE
    )
    size: int = setting(
        "How large.", default=1 << 20, form=SIZE, least=0, most=1 << 30, key="limits.max_size"
    )
    ids: tuple[SpiffeID, ...] = setting("Who.", default=())
    loud: bool = setting("Whether.", default=False, key="limits.loud")
    password: str | None = setting("The secret.", default=None, secret=True)
    folder: Path = setting("Where.", default_factory=lambda: Path("/made"), default_text="somewhere")
    plugins: Mapping[str, Mapping[str, object]] = setting("More.", default_factory=dict, option=False)

    def remarks(self) -> Iterator[Remark]:
        if self.ttl > timedelta(days=1):
            yield Remark(("ttl",), "that is long", wrong=False)
        if self.loud and self.password:
            yield Remark(("loud", "password"), "a loud secret is none")


def written(folder: Path, text: str) -> Path:
    path = folder / "f.toml"
    path.write_text(text)
    return path


def complaints(caught: pytest.ExceptionInfo[SettingsError]) -> list[str]:
    return [str(finding) for finding in caught.value.findings]


def test_defaults_hold_where_nothing_is_said() -> None:
    loaded = load(Sample, options={"name": "x", "ttl": None, "ids": ()})
    assert loaded.settings == Sample(name="x")
    assert loaded.settings.folder == Path("/made")
    assert loaded.warnings == ()


def test_an_option_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    path = written(
        tmp_path, 'name = "file"\nttl = "5m"\n[limits]\nmax_size = "4KiB"\nloud = true\n[plugins.a]\nb = 1\n'
    )
    found = load(Sample, file=path, options={"ttl": "1m", "loud": False}).settings
    assert (found.name, found.ttl, found.size, found.loud) == ("file", timedelta(minutes=1), 4096, False)
    assert found.plugins == {"a": {"b": 1}}


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'nam = "x"\nttl = "0s"\nids = ["spiffe://a/b", "spiffe:/c"]\n'
        '[limits]\nmax_sise = 1\nmax_size = "2GiB"\nloud = 3\n'
        "[other]\nx = 1\n",
    )
    with pytest.raises(SettingsError) as caught:
        load(Sample, file=path, options={"ttl": "soon"})
    assert complaints(caught) == [
        f"{path}:1: nam: unknown key; did you mean name?",
        f"{path}:5: limits.max_sise: unknown key; did you mean limits.max_size?",
        f"{path}:8: other: unknown key",
        "name: not set: give --name, or name in the file named by --config",
        f"{path}:2: ttl: 0s is less than 1s",
        "--ttl: 'soon' is not a duration such as 30s, 5m, 24h or 1h30m",
        f"{path}:6: limits.max_size: 2GiB is more than 1GiB",
        f"{path}:3: ids: 'spiffe:/c' does not begin with spiffe://",
        f"{path}:7: limits.loud: 3 is not true or false",
    ]


def test_a_key_in_the_wrong_table_is_told_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "x"\nmax_size = 1\n')
    with pytest.raises(SettingsError) as caught:
        load(Sample, file=path)
    assert complaints(caught) == [f"{path}:2: max_size: unknown key; did you mean limits.max_size?"]


def test_a_value_where_a_table_belongs_and_strange_keys_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "x"\nlimits = 1\n"\\u001b[31m" = 2\n')
    with pytest.raises(SettingsError) as caught:
        load(Sample, file=path)
    first, second = complaints(caught)
    assert first == f"{path}:2: limits: not a table"
    assert "\x1b" not in second


def test_a_secret_is_in_no_message_and_no_representation(tmp_path: Path) -> None:
    assert "hunter2" not in repr(Sample(name="x", password="hunter2"))
    path = written(tmp_path, 'name = "x"\npassword = 31337\n')
    with pytest.raises(SettingsError) as caught:
        load(Sample, file=path)
    assert complaints(caught) == [f"{path}:2: password: the value cannot be used"]


def test_values_are_looked_at_together() -> None:
    loaded = load(Sample, options={"name": "x", "ttl": "48h"})
    assert loaded.warnings == ("ttl: that is long",)
    with pytest.raises(SettingsError) as caught:
        load(Sample, options={"name": "x", "loud": True, "password": "p"})
    assert complaints(caught) == ["loud, password: a loud secret is none"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        load(Sample, file=tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match=r"f\.toml:2: Invalid value"):
        load(Sample, file=written(tmp_path, "name = 'x'\nttl = \n"))
    (tmp_path / "g.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(SettingsError, match=r"g\.toml:2: it is not UTF-8"):
        load(Sample, file=tmp_path / "g.toml")
    with pytest.raises(SettingsError, match=r"f\.toml: it is no TOML|f\.toml"):
        load(Sample, file=written(tmp_path, "x = " + "[" * 100_000))


def test_a_row_knows_all_of_its_setting() -> None:
    found = {row.name: row for row in rows(Sample)}
    assert found["name"].required
    assert found["name"].default_shown() == ""
    assert found["ttl"].reload is Reload.LIVE
    assert found["name"].reload is Reload.RESTART
    assert found["ttl"].default_shown() == "1h"
    assert found["size"].flag == "--limits-max-size"
    assert found["size"].default_shown() == "1MiB"
    assert found["folder"].default_shown() == "somewhere"
    assert found["ids"].default_shown() == ""
    assert found["password"].secret
    assert not found["plugins"].option


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Sample(name="x").name = "y"  # type: ignore[misc]
    assert list(Settings().remarks()) == []

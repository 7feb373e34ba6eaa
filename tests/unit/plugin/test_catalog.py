from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from finial.core.errors import FinialError, Kind
from finial.core.ids import TrustDomain
from finial.plugin import catalog
from finial.plugin.catalog import Cardinality, CatalogError, Group, PluginContext
from finial.plugin.guard import PluginError, wrong
from finial.plugin.keys import KEY_MANAGERS, GuardedKeyManager
from finial.plugin.node import NODE_ATTESTORS_AGENT, NODE_ATTESTORS_SERVER
from finial.plugin.workload import WORKLOAD_ATTESTORS
from support.clock import FixedChance, ManualClock

MODULE = """
from finial.core.errors import FinialError, Kind, Reason

made = []

def good(settings, context):
    made.append((dict(settings), context))
    return "good " + context.trust_domain.name

def refuses(settings, context):
    raise FinialError(Reason("test-settings", Kind.INVALID), "no such setting: 'colour'")

def fails(settings, context):
    raise RuntimeError("token 1234")

def odd(settings, context):
    return 7

constant = 7
"""
ENTRIES = """
[test.plugins]
good = {module}:good
better = {module}:good
refuses = {module}:refuses
fails = {module}:fails
odd = {module}:odd
constant = {module}:constant
absent = {module}.absent:good

[finial.key_managers]
test_disk = finial.plugins.keys.disk:create
"""


def _guard(made: object, name: str, context: PluginContext) -> str:
    if not isinstance(made, str):
        raise wrong(f"test({name})", "made no text")
    return f"guarded {made}"


def group(cardinality: Cardinality = Cardinality.ANY) -> Group[str]:
    return Group(name="test.plugins", label="test", cardinality=cardinality, guard=_guard)


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with these entry points, as pip does, in a folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str = "finial-test-plugins", entries: str = ENTRIES) -> None:
        module = name.replace("-", "_")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries.format(module=module))
        (tmp_path / f"{module}.py").write_text(MODULE)

    return write


@pytest.fixture
def context(tmp_path: Path) -> PluginContext:
    return PluginContext(
        trust_domain=TrustDomain("a.test"),
        clock=ManualClock(),
        chance=FixedChance(),
        data_dir=tmp_path / "data",
    )


def refusal(name: str, context: PluginContext, settings: Mapping[str, object] | None = None) -> FinialError:
    with pytest.raises(FinialError) as caught:
        catalog.load(group(), name, settings or {}, context=context)
    return caught.value


def test_a_plugin_of_a_third_party(install: Install, context: PluginContext) -> None:
    install()
    assert catalog.load(group(), "good", {"a": 1}, context=context) == "guarded good a.test"
    assert catalog.names(group()) == ("absent", "better", "constant", "fails", "good", "odd", "refuses")


def test_a_built_in_plugin_is_found_the_same_way(install: Install, context: PluginContext) -> None:
    install()
    context.data_dir.mkdir()
    made = catalog.load(KEY_MANAGERS, "test_disk", {}, context=context)
    assert isinstance(made, GuardedKeyManager)
    with pytest.raises(PluginError, match=r"^keymanager\(test_disk\): there are no such settings: 'x'"):
        catalog.load(KEY_MANAGERS, "test_disk", {"x": 1}, context=context)


def test_an_unknown_plugin_and_the_nearest(install: Install, context: PluginContext) -> None:
    none = refusal("good", context)
    assert none.message == "no test plugin 'good' (installed: none)"
    install()
    near = refusal("goood", context)
    assert isinstance(near, CatalogError)
    assert near.message.startswith("no test plugin 'goood'; did you mean good? (installed: absent, better, ")
    assert near.reason.kind is Kind.INVALID
    assert "did you mean" not in refusal("zzz\n", context).message


def test_a_factory_that_refuses_or_fails(install: Install, context: PluginContext) -> None:
    install()
    refuses = refusal("refuses", context)
    assert (refuses.message, refuses.reason.id) == (
        "test(refuses): no such setting: 'colour'",
        "test-settings",
    )
    assert refusal("fails", context).message == "test(fails): raised RuntimeError"
    assert refusal("odd", context).message == "test(odd): made no text"
    constant = refusal("constant", context)
    assert (
        constant.message
        == "test(constant): 'finial_test_plugins:constant' is no factory: it cannot be called"
    )
    absent = refusal("absent", context)
    assert absent.message.startswith("test(absent): ModuleNotFoundError")


def test_two_packages_with_one_name(install: Install, context: PluginContext) -> None:
    install()
    install("finial-test-rival", "[test.plugins]\ngood = {module}:good\nbetter = finial_test_plugins:good\n")
    twice = refusal("good", context)
    expected = "test plugin good is installed twice: finial_test_plugins:good and finial_test_rival:good"
    assert twice.message == expected
    assert catalog.load(group(), "better", {}, context=context)


def test_all_of_a_kind(install: Install, context: PluginContext) -> None:
    install()
    made = catalog.load_all(group(), ["good", "better"], {"better": {"b": 2}}, context=context)
    assert list(made.items()) == [("good", "guarded good a.test"), ("better", "guarded good a.test")]


def test_all_of_them_or_none(install: Install, context: PluginContext) -> None:
    install()
    import finial_test_plugins  # type: ignore[import-not-found] # noqa: PLC0415 - written by the fixture

    finial_test_plugins.made.clear()
    with pytest.raises(CatalogError, match="no test plugin 'unknown'"):
        catalog.load_all(group(), ["good", "unknown"], {}, context=context)
    assert finial_test_plugins.made == []
    with pytest.raises(CatalogError, match="test plugin 'good' is named twice"):
        catalog.load_all(group(), ["good", "better", "good"], {}, context=context)


@pytest.mark.parametrize(
    ("cardinality", "right", "wrong"),
    [
        (Cardinality.ONE, [1], [0, 2]),
        (Cardinality.SOME, [1, 2], [0]),
        (Cardinality.ANY, [0, 1, 2], []),
    ],
)
def test_how_many_of_a_kind(
    install: Install, context: PluginContext, cardinality: Cardinality, right: list[int], wrong: list[int]
) -> None:
    install()
    both = ["good", "better"]
    for count in right:
        assert len(catalog.load_all(group(cardinality), both[:count], {}, context=context)) == count
    for count in wrong:
        with pytest.raises(
            CatalogError, match=f"{count} test plugins are configured, {cardinality} is needed"
        ):
            catalog.load_all(group(cardinality), both[:count], {}, context=context)


def test_both_halves_of_a_kind_have_their_settings_under_one_name() -> None:
    groups = (KEY_MANAGERS, NODE_ATTESTORS_SERVER, NODE_ATTESTORS_AGENT, WORKLOAD_ATTESTORS)
    assert [group.table for group in groups] == [
        "key_managers",
        "node_attestors",
        "node_attestors",
        "workload_attestors",
    ]

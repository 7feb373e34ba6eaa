"""Figures: counted, read when asked for, written so that Prometheus's own parser reads the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from finial.runtime.metrics import BOUNDS, Registry

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _parsed(registry: Registry) -> Samples:
    """What Prometheus's client library reads, by name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(registry.render().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def test_what_is_written_to_the_letter() -> None:
    registry = Registry()
    ok = registry.counter("finial_calls_total", "Calls that were answered.", labels={"code": "ok"})
    bad = registry.counter("finial_calls_total", "Calls that were answered.", labels={"code": "bad"})
    registry.gauge("finial_agents", "Agents that are connected.", lambda: 3)
    ok.inc()
    ok.add(4)
    bad.inc()
    assert registry.render().decode().splitlines() == [
        "# HELP finial_calls_total Calls that were answered.",
        "# TYPE finial_calls_total counter",
        'finial_calls_total{code="ok"} 5',
        'finial_calls_total{code="bad"} 1',
        "# HELP finial_agents Agents that are connected.",
        "# TYPE finial_agents gauge",
        "finial_agents 3.0",
    ]
    assert registry.render().endswith(b"\n")
    assert Registry().render() == b""


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (0.0, 0),
        (0.0009, 0),
        (0.001, 0),
        (0.0011, 1),
        (0.5, 8),
        (60.0, 14),
        (60.1, 15),
        (1e9, 15),
        (math.inf, 15),
        (-1.0, 0),
        (math.nan, 0),
    ],
)
def test_a_duration_falls_into_its_bucket(seconds: float, bucket: int) -> None:
    histogram = Registry().histogram("finial_x_seconds", "How long x takes.")
    histogram.observe(seconds)
    assert [place for place, count in enumerate(histogram.buckets) if count] == [bucket]
    assert histogram.seconds >= 0


def test_a_histogram_is_what_prometheus_takes_for_one() -> None:
    registry = Registry()
    histogram = registry.histogram("finial_x_seconds", "How long x takes.", labels={"way": "up"})
    for seconds in (0.0004, 0.002, 0.002, 0.7, 100.0):
        histogram.observe(seconds)
    samples = _parsed(registry)
    below = {
        dict(labels)["le"]: value
        for (name, labels), value in samples.items()
        if name == "finial_x_seconds_bucket"
    }
    assert len(below) == len(BOUNDS) + 1
    assert (below["0.001"], below["0.0025"], below["0.5"], below["1.0"], below["60.0"]) == (1, 3, 3, 4, 4)
    assert below["+Inf"] == samples["finial_x_seconds_count", (("way", "up"),)] == 5
    assert samples["finial_x_seconds_sum", (("way", "up"),)] == pytest.approx(100.7044)
    assert list(below.values()) == sorted(below.values())


def test_a_counter_never_falls() -> None:
    counter = Registry().counter("finial_x_total", "x.")
    counter.add(0)
    with pytest.raises(ValueError, match="cannot take -1 away"):
        counter.add(-1)
    assert counter.value == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [(math.inf, math.inf), (-math.inf, -math.inf), (True, 1.0), (1 << 62, 2.0**62), (1e-300, 1e-300)],
)
def test_any_number_can_be_written(value: float, expected: float) -> None:
    registry = Registry()
    registry.gauge("finial_x", "x.", lambda: value)
    assert _parsed(registry) == {("finial_x", ()): expected}


def test_no_number_is_one_too() -> None:
    registry = Registry()
    registry.gauge("finial_x", "x.", lambda: math.nan)
    assert math.isnan(_parsed(registry)["finial_x", ()])


@pytest.mark.parametrize(
    "value", ["", 'a"b', "a\\b", "a\nb", '\\"\n\\n', 'x="1"} 2', "größe", "a,b", "\r", "{}"]
)
def test_no_text_of_a_label_or_sentence_forges_a_line(value: str) -> None:
    registry = Registry()
    registry.counter("finial_x_total", f"x {value}.", labels={"of": value, "also": "y"}).inc()
    registry.gauge("finial_y", "y.", lambda: 7)
    assert _parsed(registry) == {
        ("finial_x_total", (("also", "y"), ("of", value))): 1.0,
        ("finial_y", ()): 7.0,
    }


def _raise() -> float:
    raise LookupError("gone")


@pytest.mark.parametrize("read", [_raise, lambda: None, lambda: "x", lambda: 1 << 2_000])
def test_a_figure_that_cannot_be_read_takes_no_other_with_it(
    read: Callable[[], float], caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    registry.gauge("finial_broken", "Broken.", read)
    registry.gauge("finial_fine", "Fine.", lambda: 1)
    with caplog.at_level("WARNING", logger="finial.metrics"):
        assert _parsed(registry) == {("finial_fine", ()): 1.0}
    assert [(record.message, record.exc_info) for record in caplog.records] == [
        ("a figure cannot be read", None)
    ]


@pytest.mark.parametrize(
    "name", ["", "1_total", "a-b_total", "a b_total", "a\n_total", "größe_total", "x", "x_totals"]
)
def test_what_is_no_name_of_a_counter(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a counter, which ends in '_total'"):
        Registry().counter(name, "x.")


def test_what_is_no_name_of_a_histogram() -> None:
    with pytest.raises(ValueError, match="is no name for a histogram"):
        Registry().histogram("finial_x_ms", "x.")


@pytest.mark.parametrize("label", ["", "1", "a-b", "__name__", "le", "quantile", "a\n", "größe"])
def test_what_is_no_name_of_a_label(label: str) -> None:
    with pytest.raises(ValueError, match="is no name for a label"):
        Registry().counter("finial_x_total", "x.", labels={label: "y"})


def test_text_that_is_no_unicode_is_refused_when_the_figure_is_made() -> None:
    registry = Registry()
    with pytest.raises(UnicodeEncodeError):
        registry.counter("finial_x_total", "x.", labels={"of": "\ud800"})
    with pytest.raises(UnicodeEncodeError):
        registry.counter("finial_x_total", "\ud800")
    assert registry.render() == b""


def test_no_two_figures_are_the_same() -> None:
    registry = Registry()
    registry.counter("finial_x_total", "x.", labels={"a": "1", "b": "2"})
    with pytest.raises(ValueError, match='finial_x_total{a="1",b="2"} is there already'):
        registry.counter("finial_x_total", "x.", labels={"b": "2", "a": "1"})
    with pytest.raises(
        ValueError, match="another finial_x_total, of another kind, sentence or set of labels"
    ):
        registry.counter("finial_x_total", "y.", labels={"a": "1", "b": "3"})
    with pytest.raises(ValueError, match="set of labels"):
        registry.counter("finial_x_total", "x.", labels={"a": "1"})
    with pytest.raises(ValueError, match="another kind"):
        registry.gauge("finial_x_total", "x.", lambda: 1, labels={"a": "1", "b": "2"})

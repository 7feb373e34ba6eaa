from __future__ import annotations

import pytest

from finial.core.dns import fault, faults


@pytest.mark.parametrize(
    "name", ["a", "a.test", "*.a.test", "a_b.test", "_srv._tcp.a", "xn--bcher-kva.test", "1.2.3.4", "x" * 63]
)
def test_names_that_may_be_used(name: str) -> None:
    assert fault(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "a.",
        ".a",
        "a..b",
        "a.*.b",
        "**.a",
        "*a.b",
        "-a",
        "a-",
        "a b",
        "a\n",
        "b\u00fccher",
        "x" * 64,
        "x." * 127,
    ],
)
def test_names_that_may_not(name: str) -> None:
    assert fault(name)
    assert fault(name).isprintable()


def test_each_bad_name_is_listed() -> None:
    assert len(faults(["a", "", "b", "*"])) == 2

from __future__ import annotations

import pytest

from finial.agent.api.workload_jwt import read_audience, read_wanted
from finial.core.ids import SpiffeID
from finial.rpc import RpcError, StatusCode


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        (["a"], ("a",)),
        (["b", "a"], ("b", "a")),
        (["b", "a", "b"], ("b", "a")),
        (["", "a", ""], ("a",)),
        ([f"audience-{number}" for number in range(1_000)], tuple(f"audience-{n}" for n in range(1_000))),
        (["a" * 16_000], ("a" * 16_000,)),
    ],
)
def test_audiences_that_are_taken(asked: list[str], read: tuple[str, ...]) -> None:
    assert read_audience(asked) == read


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ([], "audience must be specified"),
        ([""], "audience must be specified"),
        (["", ""], "audience must be specified"),
        (["a" * 20_000], "at most 20000 characters"),
        (["ä" * 4_000], "at most 20000 characters"),
        (["\x01" * 4_000], "at most 20000 characters"),
        ([f"audience-{number}" for number in range(1_001)], "at most 1000 audiences"),
    ],
)
def test_audiences_that_are_refused(asked: list[str], text: str) -> None:
    with pytest.raises(RpcError, match=text) as caught:
        read_audience(asked)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT


def test_the_identity_that_is_wanted() -> None:
    assert read_wanted("") is None
    assert read_wanted("spiffe://a.test/web") == SpiffeID("spiffe://a.test/web")
    for text in ("web", "spiffe://a.test/", "spiffe://A.test/web", "x" * 100_000):
        with pytest.raises(RpcError, match="invalid requested SPIFFE ID: ") as caught:
            read_wanted(text)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert len(caught.value.message) < 500

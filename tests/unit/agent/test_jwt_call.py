"""What the server sends is believed only as far as the own bundle proves it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from finial.core.token_authority import TokenAuthority
from finial.rpc import RpcError, StatusCode
from support import tokens
from support.forge import NOW
from support.jwt_cases import K1, K2, OWN
from support.jwt_desk import ONE, Desk, at_desk, desk
from support.rpc import run

SECOND = timedelta(seconds=1)
SECONDS = int(NOW.timestamp())


def trust(d: Desk, *keys: TokenAuthority) -> None:
    """Another own bundle comes."""
    d.cache.apply(d.cache.book.set_bundle(replace(OWN, jwt_authorities=keys), d.clock.now()))


def sound(**changes: Any) -> str:
    return tokens.jwt(**{"sub": ONE.spiffe_id.text, "aud": ["a"], "exp": SECONDS + 300, **changes})


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (
            sound(sub="spiffe://a.test/other"),
            "the server signed a token of spiffe://a.test/other, not of spiffe://a.test/e1",
        ),
        (sound(sub="spiffe://b.test/e1"), "no federation with trust domain b.test"),
        (sound(aud=["a", "b"]), "other audiences"),
        (sound(aud=["b"]), "meant for 'b'"),
        (sound(exp=SECONDS), "expired"),
        (sound(exp=...), "exp"),
        (sound(kid="k1", header={"typ": "wit+jwt"}), "typ"),
        (sound()[:-4] + "AAAA", "signature"),
        ("", "parts"),
        ("a.b.c", "header"),
        ("x" * 40_000, "40000 characters"),
    ],
)
def test_another_token_than_was_asked_for_is_not_passed_on(token: str, text: str) -> None:
    async def main() -> None:
        async with desk() as d:
            d.signs = lambda _: token
            error = await d.refusal()
            assert error.code is StatusCode.UNAVAILABLE
            assert error.message.startswith("could not fetch JWT-SVID: ")
            assert text in error.message
            assert not token or token not in error.message
            assert not len(d.cache.tokens)
            assert len(d.calls) == 1

    run(main())


@at_desk
async def test_what_is_said_in_another_order_is_what_was_asked_for(d: Desk) -> None:
    d.signs = lambda _: sound(aud=["b", "a"])
    assert (await d.one("a", "b")).audience == ("b", "a")


@at_desk
async def test_a_token_of_a_key_that_is_not_known_yet_waits_for_the_bundle(d: Desk) -> None:
    d.signs = lambda _: sound(kid="k2")
    fetching = d.fetch()
    await d.clock.advance(SECOND)
    assert d.asked == 1
    assert d.cache.bundle_awaited == 1
    trust(d, K1, replace(K1, key_id="k3"))  # another one, which does not help
    await d.clock.advance(SECOND)
    assert d.asked == 2
    assert not fetching.done()
    trust(d, K1, K2)
    (svid,) = await asyncio.wait_for(fetching, 10)  # type: ignore[misc]
    assert svid.key_id == "k2"
    assert d.cache.bundle_awaited == 0
    assert len(d.calls) == 1


@at_desk
async def test_a_bundle_without_any_key_is_waited_out_as_well(d: Desk) -> None:
    trust(d)
    fetching = d.fetch()
    await d.clock.advance(SECOND)
    trust(d, K1)
    assert isinstance(await asyncio.wait_for(fetching, 10), list)


@at_desk
async def test_a_key_that_never_becomes_known_is_not_waited_for_for_ever(d: Desk) -> None:
    d.signs = lambda _: sound(kid="k2")
    fetching = d.fetch()
    await d.clock.advance(9 * SECOND)
    assert d.asked == 5  # every two seconds
    assert not fetching.done()
    await d.clock.advance(2 * SECOND)
    error = await asyncio.wait_for(fetching, 10)
    assert isinstance(error, RpcError)
    assert "no key 'k2'" in error.message
    assert d.cache.bundle_awaited == 0


@at_desk
async def test_an_agent_that_has_lost_its_standing_waits_for_no_bundle(d: Desk) -> None:
    d.signs = lambda _: sound(kid="k2")
    fetching = d.fetch()
    await d.clock.advance(SECOND)
    d.cache.wipe()
    await d.clock.advance(2 * SECOND)
    assert isinstance(await asyncio.wait_for(fetching, 10), RpcError)


@at_desk
async def test_an_agent_that_has_another_identity_asks_once_more(d: Desk) -> None:
    d.away = RpcError(StatusCode.PERMISSION_DENIED, "who are you?")
    d.coped = lambda: True
    error = await d.refusal()
    assert "who are you?" in error.message
    assert len(d.calls) == 2

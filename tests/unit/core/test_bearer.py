from __future__ import annotations

import pytest

from finial.core.bearer import AUTHORIZATION, read_bearer, write_bearer
from finial.core.errors import CarriageError
from support import tokens

TOKEN = tokens.jwt()


def test_both_ways() -> None:
    assert write_bearer(TOKEN) == f"Bearer {TOKEN}"
    assert read_bearer([("accept", "x"), (AUTHORIZATION, write_bearer(TOKEN))]) == TOKEN


@pytest.mark.parametrize("value", [f"bearer {TOKEN}", f"BEARER   {TOKEN}", f" Bearer {TOKEN} "])
def test_the_scheme_in_any_case(value: str) -> None:
    assert read_bearer([("Authorization", value)]) == TOKEN


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("x-authorization", f"Bearer {TOKEN}")],
        [("authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
        [("authorization", TOKEN)],
        [("authorization", "Bearer ")],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", f"Bearer{TOKEN}")],
        [("authorization", f"Bearer {TOKEN} x")],
        [("authorization", f"Bearer {TOKEN}, Bearer {TOKEN}")],
        [("authorization", f"Bearer\t{TOKEN}")],
        [("access_token", TOKEN)],
    ],
)
def test_what_carries_no_token(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(CarriageError) as caught:
        read_bearer(fields)
    assert caught.value.reason.id == "field-bearer"
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx: y", "ä", f" {TOKEN}", f"{TOKEN}\n", "a.b.c"])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(CarriageError) as caught:
        write_bearer(token)
    assert caught.value.reason.id == "field-bearer"


def test_what_is_bound_to_a_key_never_travels_as_if_it_were_not() -> None:
    token = tokens.wit()
    for bound in (token, tokens.proof(token)):
        with pytest.raises(CarriageError, match="no JWT-SVID: header: type") as caught:
            write_bearer(bound)
        assert bound not in str(caught.value)

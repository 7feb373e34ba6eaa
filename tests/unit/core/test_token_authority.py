from __future__ import annotations

from dataclasses import replace

import pytest

from finial.core.errors import BundleError
from finial.core.token_authority import MAX_KEY_ID_BYTES, TokenAuthority
from support import forge, tokens

ONE, KEY = tokens.authority("one")


def test_equal_by_content() -> None:
    again = TokenAuthority(key_id="one", key=KEY.public_key())
    assert again == ONE
    assert hash(again) == hash(ONE)
    others = [
        replace(ONE, key_id="two"),
        replace(ONE, tainted=True),
        replace(ONE, expires_at=forge.NOW),
        replace(ONE, key=forge.key("another").public_key()),
    ]
    assert len({ONE, again, *others}) == 5
    assert ONE != "one"


@pytest.mark.parametrize("key_id", ["", "x" * (MAX_KEY_ID_BYTES + 1), "ä" * (MAX_KEY_ID_BYTES // 2 + 1)])
def test_key_ids_that_are_none(key_id: str) -> None:
    with pytest.raises(BundleError) as caught:
        replace(ONE, key_id=key_id)
    assert caught.value.reason.id == "bundle-entry-key-id"


def test_any_other_text_is_a_key_id() -> None:
    for key_id in ("x" * MAX_KEY_ID_BYTES, "ä/ \n", "\ud800"):
        assert replace(ONE, key_id=key_id).key_id == key_id


def test_a_key_that_signs_no_tokens() -> None:
    with pytest.raises(BundleError) as caught:
        tokens.authority("one", "ed25519")
    assert caught.value.reason.id == "bundle-entry-key"
    assert "'one'" in str(caught.value)

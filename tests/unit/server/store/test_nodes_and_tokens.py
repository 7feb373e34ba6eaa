"""Nodes and join tokens: recorded, used once, pruned."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from finial.core.selectors import Selector
from finial.server.store import nodes, pruning, tokens
from finial.server.store.errors import MissingError, StoreError
from finial.server.store.records import NodeRecord
from finial.server.store.tokens import TokenError
from finial.server.store.writer import Tx
from support.clock import START
from support.server_store import DOMAIN, an_entry, opened

SECOND = timedelta(seconds=1)
NODE = NodeRecord(
    seq=0,
    id="spiffe://example.org/spire/agent/test/one",
    attestation_type="test",
    serial="123",
    expires_at=99,
    selectors=(Selector("test", "rack:1"), Selector("test", "zone:a:b")),
)


def test_a_node_keeps_its_place_and_survives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            first = await world.store.write(lambda tx: nodes.put(tx, NODE))
            await world.store.write(lambda tx: nodes.put(tx, replace(NODE, id=NODE.id + "b")))
            changed = replace(first, serial="124", pending_serial="125", pending_expires_at=7, version="1.0")
            await world.store.write(lambda tx: nodes.put(tx, changed))
            assert world.index.nodes.get(NODE.id) == changed
        async with opened(tmp_path / "db") as world:
            assert [node.id for node in world.index.nodes.after(0)] == [NODE.id, NODE.id + "b"]
            assert world.index.nodes.get(NODE.id) == changed
            removed = await world.store.write(lambda tx: nodes.remove(tx, NODE.id))
            assert removed == changed
            assert world.index.nodes.get(NODE.id) is None
            with pytest.raises(MissingError, match="agent not found"):
                await world.store.write(lambda tx: nodes.remove(tx, NODE.id))

    asyncio.run(main())


def _expiry(after: timedelta) -> int:
    return int((START + after).timestamp())


def test_a_token_works_once_for_one_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            write = world.store.write
            await write(lambda tx: tokens.create(tx, "secret", expires_at=_expiry(10 * SECOND)))
            with pytest.raises(StoreError, match="already exists"):
                await write(lambda tx: tokens.create(tx, "secret", expires_at=_expiry(SECOND)))
            with pytest.raises(TokenError, match="does not exist or has already been used"):
                await write(lambda tx: tokens.use(tx, "other", b"key"))
            await write(lambda tx: tokens.check(tx, "secret", b"key"))
            await write(lambda tx: tokens.use(tx, "secret", b"key"))
            with pytest.raises(TokenError, match="already been used"):
                await write(lambda tx: tokens.use(tx, "secret", b"another key"))

    asyncio.run(main())


def test_the_same_key_may_use_it_again_for_five_minutes_after_its_first_use(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            write = world.store.write
            await write(lambda tx: tokens.create(tx, "secret", expires_at=_expiry(10 * SECOND)))
            await write(lambda tx: tokens.use(tx, "secret", b"key"))
            await world.clock.advance(tokens.RETRY_WINDOW - SECOND)
            await write(lambda tx: tokens.use(tx, "secret", b"key"))
            await world.clock.advance(SECOND)
            with pytest.raises(TokenError, match="already been used"):
                await write(lambda tx: tokens.use(tx, "secret", b"key"))

    asyncio.run(main())


def test_a_token_that_ended_is_told_apart_from_one_that_was_used(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            write = world.store.write
            await write(lambda tx: tokens.create(tx, "secret", expires_at=_expiry(10 * SECOND)))
            await world.clock.advance(10 * SECOND)
            with pytest.raises(TokenError, match="join token expired") as caught:
                await write(lambda tx: tokens.use(tx, "secret", b"key"))
            assert "token generate" in caught.value.reason.hint

    asyncio.run(main())


def test_many_at_once_with_one_token_let_one_key_in(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.store.write(lambda tx: tokens.create(tx, "secret", expires_at=_expiry(SECOND)))
            results = await asyncio.gather(
                *(
                    world.store.write(partial(tokens.use, token="secret", key=b"key%d" % n))
                    for n in range(50)
                ),
                return_exceptions=True,
            )
            assert sum(result is None for result in results) == 1
            assert sum(isinstance(result, TokenError) for result in results) == 49

    asyncio.run(main())


def test_a_forgotten_token_lets_nobody_in_and_none_is_readable_in_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with opened(path) as world:
            await world.store.write(
                lambda tx: tokens.create(tx, "very-secret-token", expires_at=_expiry(SECOND))
            )
            await world.store.write(lambda tx: tokens.forget(tx, "very-secret-token"))
            with pytest.raises(TokenError):
                await world.store.write(lambda tx: tokens.use(tx, "very-secret-token", b"key"))
        assert all(b"very-secret-token" not in file.read_bytes() for file in tmp_path.iterdir())

    asyncio.run(main())


def _create(tx: Tx, *, name: str, life: timedelta) -> None:
    tokens.create(tx, name, expires_at=_expiry(life))


def test_pruning_takes_what_has_ended_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with opened(path) as world:
            write = world.store.write
            await world.create(an_entry("old", expires_at=START + SECOND), an_entry("new"))
            for name, life in (("used", 1), ("unused", 1), ("lasting", 10_000_000)):
                await write(partial(_create, name=name, life=life * SECOND))
            await write(lambda tx: tokens.use(tx, "used", b"key"))
            assert not await write(lambda tx: pruning.prune(tx, DOMAIN.name))
            await world.clock.advance(SECOND)
            gone = await write(lambda tx: pruning.prune(tx, DOMAIN.name))
            assert (gone.entries, gone.tokens, gone.authorities) == (("old",), 1, 0)
            await world.clock.advance(tokens.RETRY_WINDOW)
            gone = await write(lambda tx: pruning.prune(tx, DOMAIN.name))
            assert (gone.entries, gone.tokens) == ((), 1)
            await write(lambda tx: tokens.check(tx, "lasting", b"key"))
            await world.clock.advance(pruning.LOG_AGE)
            await write(lambda tx: pruning.prune(tx, DOMAIN.name))
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT count(*) FROM changes").fetchone() == (0,)
        connection.close()

    asyncio.run(main())

"""Which authorities a server has, by its settings, and what becomes of those that it had."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finial.core.keys import KeyType
from finial.core.revision import STANDARDS
from finial.rpc import RpcError, StatusCode
from finial.server.ca.journal import JournalError
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from finial.wire.gen import spire_api_types as types
from support.clock import ManualClock
from support.rpc import PATIENCE_SECONDS
from support.server_app import RunningServer, running

DAY = timedelta(days=1)
WITH_WIT: dict[str, Any] = {"incubating_wit_svid": STANDARDS}
OFTEN: dict[str, Any] = {"prune_interval": timedelta(seconds=10)}


async def _bundle(server: RunningServer) -> types.Bundle:
    return await server.admin.unary(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())


async def _until(clock: ManualClock, holds: Callable[[], Awaitable[bool]]) -> None:
    """Let services look at the time again and again, until something holds; they work in threads, too."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():
            await clock.advance(timedelta(seconds=10))


async def _pass_days(server: RunningServer, clock: ManualClock, *kinds: str) -> None:
    """Let three days pass, in eighths of a day, each of which does what is due in it to these kinds."""

    async def done() -> bool:
        for kind in kinds:
            request = getattr(pb, f"Get{kind}AuthorityStateRequest")()
            state = await server.admin.unary(getattr(pb.LocalAuthority, f"Get{kind}AuthorityState"), request)
            left = timedelta(seconds=state.active.expires_at - clock.now().timestamp())
            if left <= DAY / 6 or (left <= DAY / 2 and not state.HasField("prepared")):
                return False
        return True

    for _ in range(24):
        clock.jump(DAY / 8)
        await _until(clock, done)


def _key_ids(bundle: types.Bundle) -> set[str]:
    return {each.key_id for keys in (bundle.jwt_authorities, bundle.wit_authorities) for each in keys}


def _rows(folder: Path) -> set[str]:
    """The kinds of which the journal has slots."""
    connection = sqlite3.connect(folder / "server.db")
    found = {row[0] for row in connection.execute("SELECT kind FROM authorities")}
    connection.close()
    return found


def _keys(folder: Path) -> set[str]:
    """The kinds of which there are private keys."""
    return {path.name.partition("-")[0] for path in (folder / "private" / "keys").iterdir()}


def test_a_new_server_publishes_a_root_and_a_key_for_jwt_svids(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            bundle = await _bundle(server)
            assert (len(bundle.x509_authorities), len(bundle.jwt_authorities)) == (1, 1)
            assert (len(bundle.wit_authorities), bundle.sequence_number) == (0, 2)
            end = int((server.clock.now() + DAY).timestamp())
            assert bundle.jwt_authorities[0].expires_at == end
        async with running(tmp_path) as server:
            assert await _bundle(server) == bundle
        assert _rows(tmp_path) == _keys(tmp_path) == {"x509", "jwt"}

    asyncio.run(main())


def test_keys_are_of_the_kinds_that_the_settings_say(tmp_path: Path) -> None:
    async def main() -> None:
        wanted: dict[str, Any] = {"jwt_key_type": KeyType.RSA_2048, "wit_key_type": KeyType.EC_P384}
        async with running(tmp_path, **WITH_WIT, **wanted) as server:
            (bundle,) = (await server.trust()).values()
            assert KeyType.of(bundle.x509_authorities[0].key) is KeyType.EC_P256
            assert KeyType.of(bundle.jwt_authorities[0].key) is KeyType.RSA_2048
            assert KeyType.of(bundle.wit_authorities[0].key) is KeyType.EC_P384
        async with running(tmp_path / "other", ca_key_type=KeyType.EC_P384) as server:
            (bundle,) = (await server.trust()).values()
            assert KeyType.of(bundle.jwt_authorities[0].key) is KeyType.EC_P384

    asyncio.run(main())


def test_all_kinds_take_turns_and_what_has_ended_goes(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock, **WITH_WIT, **OFTEN) as server:
            before = _key_ids(await _bundle(server))
            await _pass_days(server, clock, "X509", "JWT", "WIT")

            async def gone() -> bool:
                return not before & _key_ids(await _bundle(server))

            await _until(clock, gone)
            last = await _bundle(server)
            assert len(before) == 2
            assert last.jwt_authorities
            assert last.wit_authorities

    asyncio.run(main())


@pytest.mark.spec("WIT-46")
def test_whoever_no_longer_opts_in_has_no_keys_for_wit_svids(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(tmp_path, **WITH_WIT) as server:
            before = await _bundle(server)
            assert len(before.wit_authorities) == 1
            assert before.wit_authorities[0].key_id != before.jwt_authorities[0].key_id
        assert _rows(tmp_path) == _keys(tmp_path) == {"x509", "jwt", "wit"}
        for _ in range(2):
            async with running(tmp_path) as server:
                after = await _bundle(server)
                assert not after.wit_authorities
                assert after.jwt_authorities == before.jwt_authorities
                assert after.sequence_number == before.sequence_number + 1
            assert _rows(tmp_path) == _keys(tmp_path) == {"x509", "jwt"}

    asyncio.run(main())
    told = [each for each in caplog.records if "taken out of the bundle" in each.getMessage()]
    assert len(told) == 1


def test_where_jwt_svids_are_disabled_keys_stay_until_they_have_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock) as server:
            before = await _bundle(server)
        async with running(tmp_path, clock=clock, disable_jwt_svids=True, **OFTEN) as server:
            assert await _bundle(server) == before
            with pytest.raises(RpcError) as caught:
                await server.admin.unary(
                    pb.LocalAuthority.GetJWTAuthorityState, pb.GetJWTAuthorityStateRequest()
                )
            assert caught.value.code is StatusCode.UNIMPLEMENTED
            assert caught.value.message == "JWT functionality is disabled"
            await _pass_days(server, clock, "X509")

            async def gone() -> bool:
                return not (await _bundle(server)).jwt_authorities

            await _until(clock, gone)
        async with running(tmp_path / "new", disable_jwt_svids=True) as server:
            bundle = await _bundle(server)
            assert (len(bundle.jwt_authorities), bundle.sequence_number) == (0, 1)

    caplog.set_level(logging.INFO, "finial.server.ca")
    asyncio.run(main())
    told = [each for each in caplog.records if "stay in the bundle until they end" in each.getMessage()]
    assert len(told) == 1


@pytest.mark.parametrize("kind", ["x509", "jwt"])
def test_a_damaged_journal_of_any_kind_ends_the_start(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with running(tmp_path):
            pass
        connection = sqlite3.connect(tmp_path / "server.db")
        connection.execute("UPDATE authorities SET certificate = x'00' WHERE kind = ?", (kind,))
        connection.commit()
        connection.close()
        with pytest.raises(JournalError, match="slot 'A' in the journal of the"):
            async with running(tmp_path):
                pass

    asyncio.run(main())

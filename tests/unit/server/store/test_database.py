"""Opening the database: new, ours, another's, damaged, older, newer."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from finial.core.ids import TrustDomain
from finial.server.store import database, errors, snapshot
from finial.server.store.errors import StoreError
from finial.server.store.migrations import run as migrations
from finial.server.store.schema import HEAD, METADATA
from support.clock import FixedChance
from support.server_store import DOMAIN, an_entry, opened


def _prepare(path: Path, domain: TrustDomain = DOMAIN, engine: Engine | None = None) -> str:
    engine = engine or database.open_engine(path)
    try:
        return database.prepare(engine, path, domain, chance=FixedChance())
    finally:
        engine.dispose()


def _change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_new_database_is_made_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "db"
    epoch = _prepare(path)
    assert len(epoch) == 32
    assert _prepare(path) == epoch


def test_a_new_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    engine = database.open_engine(path)
    _prepare(path, engine=engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM meta")
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == {"db": 0o600, "db-wal": 0o600, "db-shm": 0o600}
    path.chmod(0o640)  # whoever wants it otherwise may
    _prepare(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_is_written_survives_a_power_cut(tmp_path: Path) -> None:
    engine = database.open_engine(tmp_path / "db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_the_database_of_another_trust_domain_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _prepare(path)
    with pytest.raises(StoreError, match="belongs to trust domain example.org, not other.test") as caught:
        _prepare(path, TrustDomain("other.test"))
    assert caught.value.reason is errors.FOREIGN


@pytest.mark.parametrize("content", [b"this is no database " * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=str(path)) as caught:
        _prepare(path)
    assert caught.value.reason is errors.DAMAGED
    assert "backup" in caught.value.reason.hint


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _change(path, "CREATE TABLE customers (name TEXT)")
    with pytest.raises(StoreError, match="not one of a Finial server"):
        _prepare(path)


def test_a_database_without_an_owner_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _prepare(path)
    _change(path, "DELETE FROM meta")
    with pytest.raises(StoreError, match="does not say whose it is"):
        _prepare(path)


def test_a_folder_that_cannot_be_written_is_an_error_about_access(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be used") as caught:
        _prepare(tmp_path / "missing" / "db")
    assert caught.value.reason is errors.UNAVAILABLE


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _prepare(path)
    _change(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="'9999', which this release does not know") as caught:
        _prepare(path)
    assert caught.value.reason is errors.NEWER


def test_the_steps_and_the_metadata_make_one_schema(tmp_path: Path) -> None:
    stepped, made = tmp_path / "stepped", tmp_path / "made"
    engine = database.open_engine(stepped)
    migrations.to_head(engine, stepped, "")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()
    _prepare(made)
    assert _schema(stepped) == _schema(made)


def _schema(path: Path) -> dict[str, object]:
    """Columns, indices and foreign keys of every table, as SQLite has them."""
    connection = sqlite3.connect(path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found: dict[str, object] = {}
    for table in tables:
        found[table] = connection.execute(f"PRAGMA table_info({table})").fetchall()
        found[f"{table} keys"] = connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()
        indices = connection.execute(f"PRAGMA index_list({table})").fetchall()
        found[f"{table} indices"] = sorted((row[1], row[2]) for row in indices)
    numbered = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
    found["numbered"] = sorted(numbered.fetchall())
    connection.close()
    return found


def test_a_database_that_is_behind_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _prepare(path)
    tables = ["changes", "authorities", "bundles", "join_tokens", "nodes", "entry_federations", "entries"]
    _change(
        path,
        "DELETE FROM alembic_version",
        *(f"DROP TABLE {table}" for table in tables),
        "ALTER TABLE meta RENAME TO kept",
    )
    with pytest.raises(StoreError, match="does not say whose it is"):
        _prepare(path)
    _change(path, "INSERT INTO meta SELECT * FROM kept")
    assert _prepare(path)


def test_authorities_of_before_there_were_several_kinds_are_roots(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _prepare(path)
    columns = "status TEXT NOT NULL, key_id TEXT NOT NULL, certificate BLOB NOT NULL"
    _change(
        path,
        "UPDATE alembic_version SET version_num = '0001'",
        "DROP TABLE authorities",
        f"CREATE TABLE authorities (server TEXT NOT NULL, slot TEXT NOT NULL, {columns}, "
        "prepared_at BIGINT NOT NULL, activated_at BIGINT NOT NULL, PRIMARY KEY (server, slot))",
        "INSERT INTO authorities VALUES ('server', 'A', 'old', 'x509-ca-a-1', x'30', 5, 6)",
        "INSERT INTO authorities VALUES ('server', 'B', 'active', 'x509-ca-b-2', x'31', 7, 8)",
    )
    _prepare(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT * FROM authorities ORDER BY slot").fetchall() == [
        ("server", "x509", "A", "old", "x509-ca-a-1", b"0", 5, 6, 0),
        ("server", "x509", "B", "active", "x509-ca-b-2", b"1", 7, 8, 0),
    ]
    connection.close()
    made = tmp_path / "made"
    _prepare(made)
    assert _schema(path) == _schema(made)


def test_alembic_is_not_imported_for_a_database_that_is_up_to_date(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from finial.core.ids import TrustDomain\n"
        "from finial.server.store import database; from finial.runtime.chance import SystemChance\n"
        "path = Path(sys.argv[1]); engine = database.open_engine(path)\n"
        "database.prepare(engine, path, TrustDomain('example.org'), chance=SystemChance())\n"
        "print('alembic' in sys.modules)"
    )

    async def main() -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(tmp_path / "db"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode().strip()

    assert asyncio.run(main()) == "False"
    assert asyncio.run(main()) == "False"


def test_a_row_that_cannot_be_read_is_named_as_damage(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with opened(path) as world:
            await world.create(an_entry("web"))
            node = "INSERT INTO nodes VALUES (1, 'x', 't', 's', 1, '', 0, 0, '', 'no json')"
            await world.store.write(lambda tx: tx.sql.exec_driver_sql(node).rowcount)
            with pytest.raises(StoreError, match="row that cannot be read") as caught:
                await world.store.write(snapshot.read)
            assert caught.value.reason is errors.DAMAGED

    asyncio.run(main())

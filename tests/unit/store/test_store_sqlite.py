"""What SQLite adds to the promises of a store: files, damage, indices, and a door that is cheap to pass."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

import ampacity
from ampacity.model.errors import StoreCorrupt, StoreError
from ampacity.model.event import Table
from ampacity.model.workload import WorkloadPhase
from ampacity.store import open_store, schema
from ampacity.store.sqlite import SqliteStore
from rows import draft, ended, make_node, make_workload, submitted


def run_sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        answers = [connection.execute(statement).fetchall() for statement in statements]
        connection.commit()
    return [row for answer in answers for row in answer]


@pytest.mark.parametrize("folder", ["a?mode=ro", "a%20b", "a#b", "a b", "ä"])
def test_the_file_is_where_the_path_says(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "store.db"
    path.parent.mkdir()
    for where in (str(path), f"sqlite:///{path}"):
        store = open_store(where)
        store.append([draft(make_node(f"n{len(store.events())}"))])
        store.close()
    assert run_sql(path, "SELECT count(*) FROM events") == [(2,)]
    assert {each.name for each in tmp_path.rglob("*") if each.is_file()} == {"store.db"}


@pytest.mark.parametrize("where", ["", ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_store_without_a_file_is_refused(where: str) -> None:
    with pytest.raises(StoreError, match="needs a file"):
        open_store(where)


def test_every_connection_waits_for_the_disk(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "store.db"))
    for engine in (store._writer, store._readers):
        with engine.connect() as connection:
            settings = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
            ]
        assert settings == ["wal", 2], "2 is FULL"
    store.close()


def test_the_migrations_make_the_tables_that_are_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(str(path))
    with store._readers.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    store.close()
    named = {index.name for table in schema.metadata.tables.values() for index in table.indexes}
    made = run_sql(path, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    assert {name for name, _ in made} == named
    assert {str(name) for name, sql in made if str(sql).endswith("WHERE ended = 0")} == {
        "ux_workloads_live_name", "ix_workloads_live"
    }  # fmt: skip


def test_a_foreign_database_keeps_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    run_sql(path, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)")
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="not a store of Ampacity"):
        open_store(str(path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_damaged_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened as a store") as caught:
        open_store(str(tmp_path))
    assert not isinstance(caught.value, StoreCorrupt), "nothing says that a backup is needed"
    assert "may write in it" in caught.value.hint


def test_a_file_that_another_holds_is_no_damaged_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ampacity.store.opening.BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="database is locked") as caught:
            open_store(str(path))
    assert not isinstance(caught.value, StoreCorrupt)
    assert "Another process holds it" in caught.value.hint
    open_store(str(path)).close()


def test_a_write_that_cannot_wait_any_longer_is_an_error_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampacity.store.opening.BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "store.db"
    store = open_store(str(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked\. Nothing was written"):
            store.append([draft(make_node())])
        assert store.rows().seq == 0, "readers are not held up"
    assert store.append([draft(make_node())])[0].seq == 1
    store.close()


def test_a_file_without_a_release_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_store(str(path)).close()
    run_sql(path, "DELETE FROM alembic_version")
    with pytest.raises(StoreCorrupt, match="does not say which release"):
        open_store(str(path))
    run_sql(path, "DROP TABLE alembic_version")
    with pytest.raises(StoreCorrupt, match="does not say which release"):
        open_store(str(path))


@pytest.mark.parametrize("body", ["{", '{"id": 3}', "null"])
def test_a_row_or_event_that_cannot_be_read_is_named(tmp_path: Path, body: str) -> None:
    path = tmp_path / "store.db"
    store = open_store(str(path))
    store.append([draft(make_node()), submitted(make_workload("a"))])
    run_sql(path, f"UPDATE nodes SET body = '{body}'", f"UPDATE events SET body = '{body}' WHERE seq = 2")
    for read in (store.live, store.rows, lambda: store.get(Table.NODES, "n1")):
        with pytest.raises(StoreCorrupt, match="nodes 'n1' in the store cannot be read"):
            read()
    for read_events in (store.events, lambda: store.compact(before=2)):
        with pytest.raises(StoreCorrupt, match="Event 2 in the store cannot be read"):
            read_events()
    assert len(store.events(limit=1)) == 1
    store.close()


def test_a_log_with_a_hole_is_not_compacted(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(str(path))
    store.append([draft(make_node()), draft(make_node(version=2)), draft(make_node(version=3))])
    run_sql(path, "DELETE FROM events WHERE seq = 2")
    with pytest.raises(StoreCorrupt, match="has lost event 2"):
        store.compact(before=3)
    assert [each.seq for each in store.events()] == [1, 3]
    store.close()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (make_workload("a", created_at=math.inf), r"workloads 'wa' cannot be stored: .*created_at"),
        (make_workload("a", created_at=math.nan), r"workloads 'wa' cannot be stored: .*created_at"),
        (make_workload("a", note="\ud800"), "workloads 'wa' cannot be stored: .*surrogates"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, row: object, message: str) -> None:
    store = open_store(str(tmp_path / "store.db"))
    with pytest.raises(StoreError, match=message):
        store.append([draft(make_node()), draft(row)])  # type: ignore[arg-type]
    for wrong in (replace(draft(make_node()), at=math.inf), replace(draft(make_node()), text="\udfff")):
        with pytest.raises(StoreError, match="An event cannot be stored"):
            store.append([wrong])
    assert store.rows().seq == 0
    assert store.append([draft(make_node())])[0].seq == 1
    store.close()


def test_what_has_ended_is_not_walked_to_find_what_lives(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(str(path))
    done, waiting = make_workload("done"), make_workload("waiting")
    store.append([submitted(done), ended(done), submitted(waiting), draft(make_node())])
    asked: list[tuple[str, tuple[object, ...]]] = []

    @event.listens_for(store._readers, "before_cursor_execute")
    def note(_c: object, _k: object, statement: str, parameters: tuple[object, ...], _x: object, _m: bool) -> None:
        asked.append((statement, parameters))

    store.live()
    store.workloads(phases=[WorkloadPhase.WAITING, WorkloadPhase.RUNNING])
    store.workloads(phases=[WorkloadPhase.WAITING], before=(9.0, "x"))
    queries = [each for each in asked if each[0].startswith("SELECT")]
    assert len(queries) == 18, "sixteen of live(), and two pages"
    with closing(sqlite3.connect(path)) as connection:
        for statement, parameters in queries:
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters):
                for table in ("workloads", "specs", "desired", "replicas", "attempts"):
                    partial = ("ix_workloads_live", "ux_workloads_live_name")
                    assert not step.startswith(f"SCAN {table}") or step.endswith(partial), (step, statement)
    store.close()


def python(code: str, *, at: Path, argument: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, argument], env={"PYTHONPATH": str(at)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_heavy_imports_wait_until_they_are_needed(tmp_path: Path) -> None:
    code = """
import sys
heavy = lambda: sorted({name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "alembic"})
from ampacity.store import open_store
print(heavy())
open_store(sys.argv[1])
print(heavy())
"""
    path = tmp_path / "store.db"
    open_store(str(path)).close()
    source = Path(ampacity.__file__).parents[1]
    assert python(code, at=source, argument=str(path)).splitlines() == ["[]", "['sqlalchemy']"]


def test_it_opens_wherever_the_package_lies(tmp_path: Path) -> None:
    """Alembic's settings give ``%`` a meaning; a folder's name does not."""
    odd = tmp_path / "50%(off)s"
    odd.symlink_to(Path(ampacity.__file__).parents[1])
    code = "import sys; from ampacity.store import open_store; print(open_store(sys.argv[1]).rows().seq)"
    assert python(code, at=odd, argument=str(tmp_path / "store.db")) == "0\n"

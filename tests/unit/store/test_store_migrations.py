"""A store that an older release wrote: kept as it was, brought up to date, and all there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

import ampacity.store
from ampacity.model.codec import encode_event, encode_row
from ampacity.model.errors import StoreError, StoreTooNew
from ampacity.model.event import Draft, Event, Table, fold
from ampacity.model.workload import WorkloadPhase
from ampacity.store import open_store, schema
from ampacity.store.opening import APPLICATION_ID, open_engine
from rows import draft, ended, make_node, make_workload, submitted


def of_release(revision: str, path: Path, drafts: list[Draft]) -> None:
    """A store as the release wrote it that had this migration as its newest."""
    engine = open_engine(str(path), begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(ampacity.store.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    engine.dispose()
    with closing(sqlite3.connect(path)) as plain:
        columns = {
            table: {column[1] for column in plain.execute(f"PRAGMA table_info({table})")} for table in map(str, Table)
        }
        for seq, each in enumerate(drafts, start=1):
            body = encode_event(Event(seq=seq, draft=each))
            plain.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (seq, each.at, each.kind, each.workload, body))
            for change in each.changes:
                assert change.row is not None
                row = {"key": change.key, **schema.columns_of(change.row), "body": encode_row(change.row)}
                row = {name: value for name, value in row.items() if name in columns[str(change.table)]}
                names, marks = ", ".join(row), ", ".join("?" for _ in row)
                plain.execute(f"INSERT OR REPLACE INTO {change.table} ({names}) VALUES ({marks})", [*row.values()])
        plain.commit()


def drafts() -> list[Draft]:
    done = make_workload("done")
    return [submitted(done), ended(done), submitted(make_workload("live")), draft(make_node())]


def test_the_first_releases_store_is_kept_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    of_release("0001", path, drafts())
    store = open_store(str(path))
    assert store.finished(before=99.0, limit=9) == ("wdone",)
    assert fold(store.events(), store.base()) == store.rows()
    assert store.append([draft(make_node("n2"))])[0].seq == 5
    live = make_workload("live")
    store.append([draft(replace(live, phase=WorkloadPhase.FAILED, ended_at=3.0, version=2), workload=live.id)])
    store.compact(before=5)
    assert fold(store.events(), store.base()) == store.rows()
    store.close()
    kept = tmp_path / "store.db.before-0007"
    with closing(sqlite3.connect(kept)) as plain:
        assert plain.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert plain.execute("SELECT count(*) FROM events").fetchall() == [(4,)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store.db", "store.db.before-0007"]


def test_what_cannot_be_kept_first_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    of_release("0001", path, drafts())

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ampacity.store.opening.copy_database", no_room)
    with pytest.raises(StoreError, match="cannot be copied") as refused:
        open_store(str(path))
    assert "room" in refused.value.hint
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


def test_a_new_store_leaves_no_copy_and_one_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_store(str(path)).close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["store.db"]
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("UPDATE alembic_version SET version_num = '0999'")
        plain.commit()
    with pytest.raises(StoreTooNew, match="0999"):
        open_store(str(path))

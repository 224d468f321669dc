"""Backups: taken while the store is written, restored whole or not at all, and what cannot be one."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path

import pytest

from ampacity.control.backup import back_up, restore
from ampacity.control.state_folder import Settings, StateFolder
from ampacity.model.errors import Conflict, StateFolderBusy, UserError
from ampacity.model.event import fold
from ampacity.model.workload import WorkloadPhase
from ampacity.store import open_store
from rows import draft, make_attempt, make_node, make_workload, submitted


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    found = StateFolder(tmp_path / "state")
    found.write_settings(Settings(nodes=("n1:cpus=4,memory=1GB",)))
    for name, text in (("secrets.json", "sealed"), ("secret.key", "key"), ("token", "token")):
        found.file(name).write_text(text)
    store = open_store(str(found.file("store.db")))
    store.append([submitted(make_workload("a")), draft(make_node()), draft(make_attempt(), workload="wa")])
    store.append((), cursors={"local": "file:123"})
    store.close()
    return found


def names(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def test_a_backup_comes_back_with_what_ran_given_up(folder: StateFolder, tmp_path: Path) -> None:
    manifest = back_up(folder, tmp_path / "b.tar")
    assert names(tmp_path / "b.tar") == ["manifest.json", "store.db", "settings.json", "secrets.json"]
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    other = StateFolder(tmp_path / "other")
    restored = restore(other, tmp_path / "b.tar")
    assert (restored.manifest, restored.lost) == (manifest, 1)
    assert other.read_settings() == folder.read_settings()
    assert not other.file("token").exists()
    store = open_store(str(other.file("store.db")))
    (attempt,) = store.rows().attempts.values()
    assert (attempt.phase.value, attempt.cause and attempt.cause.kind.value) == ("lost", "node_lost")
    assert fold(store.events(), store.base()) == store.rows()
    assert dict(store.cursors()) == {"local": ""}
    store.close()


def test_the_keys_are_in_it_when_they_are_asked_for(folder: StateFolder, tmp_path: Path) -> None:
    folder.file("secret.key.old").write_text("an older key")
    back_up(folder, tmp_path / "b.tar", with_keys=True)
    other = StateFolder(tmp_path / "other")
    restore(other, tmp_path / "b.tar")
    for name, text in (("secret.key", "key"), ("secret.key.old", "an older key")):
        assert other.file(name).read_text() == text
        assert other.file(name).stat().st_mode & 0o777 == 0o600
    assert other.file("secret.key").stat().st_mode & 0o777 == 0o600


def test_a_backup_beside_a_writer_is_one_moment(folder: StateFolder, tmp_path: Path) -> None:
    store = open_store(str(folder.file("store.db")))
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            store.append([submitted(make_workload(f"t{number}"))])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            back_up(folder, tmp_path / f"{number}.tar")
    finally:
        done.set()
        writer.join()
        store.close()
    for number in range(5):
        other = StateFolder(tmp_path / f"other{number}")
        restore(other, tmp_path / f"{number}.tar")
        copy = open_store(str(other.file("store.db")))
        rows = copy.rows()
        assert fold(copy.events(limit=100_000), copy.base()) == rows
        assert all(row.phase is WorkloadPhase.WAITING for row in rows.workloads.values())
        copy.close()


def test_nothing_is_overwritten(folder: StateFolder, tmp_path: Path) -> None:
    back_up(folder, tmp_path / "b.tar")
    before = folder.file("store.db").read_bytes()
    with pytest.raises(Conflict, match="has a store"):
        restore(folder, tmp_path / "b.tar")
    assert folder.file("store.db").read_bytes() == before
    folder.hold()
    with pytest.raises(StateFolderBusy):
        restore(StateFolder(folder.path), tmp_path / "b.tar")
    folder.release()


def archive_of(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("__", "."))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "manifest.json is missing"),
        ({"manifest__json": b"{}"}, "no backup"),
        ({"manifest__json": b'{"format":9,"release":"7.0","made_at":1,"files":["store.db"]}'}, "made by Ampacity 7.0"),
        ({"manifest__json": b'{"format":1,"release":"1","made_at":1,"files":["store.db"]}'}, "store.db is missing"),
        ({"manifest__json": b'{"format":1,"release":"1","made_at":1,"files":["store.db","../x"]}'}, "other files"),
        ({"manifest__json": b'{"format":1,"release":"1","made_at":1,"files":["settings.json"]}'}, "other files"),
    ],
)
def test_what_is_no_backup_is_refused_and_leaves_nothing(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    other = StateFolder(tmp_path / "other")
    with pytest.raises(UserError, match=says):
        restore(other, archive_of(tmp_path / "b.tar", **files))
    assert not other.file("store.db").exists()


def test_a_file_that_is_no_archive_and_a_folder_without_a_store(folder: StateFolder, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"garbage" * 1000)
    with pytest.raises(UserError, match="cannot be read as a backup"):
        restore(StateFolder(tmp_path / "other"), tmp_path / "b.tar")
    with pytest.raises(UserError, match="no store in"):
        back_up(StateFolder(tmp_path / "empty"), tmp_path / "c.tar")
    with pytest.raises(UserError, match="cannot be written"):
        back_up(folder, tmp_path / "nowhere" / "c.tar")
    folder.write_settings(Settings(store="postgresql://me@host/db"))
    with pytest.raises(UserError, match="pg_dump"):
        back_up(folder, tmp_path / "c.tar")
    assert not (tmp_path / "c.tar").exists()

"""Backups of a state folder while it is in use, and restoring them.

A backup is a tar file: ``manifest.json``, ``store.db``, and what else the folder cannot be made without. Models,
checkpoints and logs are not in it.
"""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import msgspec

import ampacity
from ampacity.model.attempt import Attempt, AttemptLost, Cause, CauseKind
from ampacity.model.errors import Conflict, StoreError, UserError
from ampacity.model.event import Draft, EventKind, Row, put
from ampacity.model.evolve import evolve
from ampacity.store import open_store

from .state_folder import StateFolder, write_atomically

FORMAT = 1
STORE = "store.db"
MANIFEST = "manifest.json"
WITH_IT = ("settings.json", "secrets.json")
KEYS = ("secret.key", "secret.key.old")
LOT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``made_at``: seconds since the epoch. ``files``: what the backup holds beside this."""

    format: int
    release: str
    made_at: float
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """``lost``: how many attempts were running at the time of the backup, and are given up."""

    manifest: Manifest
    lost: int


def back_up(folder: StateFolder, target: Path, *, with_keys: bool = False) -> Manifest:
    """Write a backup, whether a control plane is at work there or not. It takes its name once it is complete.

    ``with_keys``: also the keys that open the secrets; whoever has such a backup has them.

    Raises:
        UserError: there is nothing to back up, the store is in PostgreSQL, or the file cannot be written.
        StoreError: the store cannot be read.
    """
    if folder.read_settings().store:
        raise UserError("The state is in PostgreSQL.", hint="Back that up with pg_dump, schema `ampacity`.")
    if not folder.file(STORE).is_file():
        raise UserError(f"There is no store in {folder.path}.", hint="Is --state right?")
    names = [name for name in (*WITH_IT, *(KEYS if with_keys else ())) if folder.file(name).is_file()]
    manifest = Manifest(format=FORMAT, release=ampacity.__version__, made_at=time.time(), files=(STORE, *names))
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            _write(file, folder, manifest, names)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    except OSError as error:
        raise UserError(f"The backup {target} cannot be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def restore(folder: StateFolder, source: Path) -> Restored:
    """Put a backup into a folder without a store, and give up the attempts that ran when it was made.

    Raises:
        StateFolderBusy: a control plane is at work there.
        Conflict: the folder has a store.
        UserError: the file is no backup, or one of a newer release.
        StoreError: its store cannot be opened.
    """
    folder.hold()
    try:
        if folder.file(STORE).exists():
            raise Conflict(
                f"{folder.path} has a store.", hint="Restore into another folder (--state), or move that one away."
            )
        try:
            with tarfile.open(source) as archive:
                manifest = _manifest(source, archive)
                contents = {name: _read(source, archive, name) for name in manifest.files}
        except (OSError, tarfile.TarError) as error:
            raise UserError(f"{source} cannot be read as a backup: {error}.") from error
        for name, content in contents.items():
            if name != STORE:
                write_atomically(folder.file(name), content)
        with tempfile.TemporaryDirectory(dir=folder.path) as beside:
            # The store takes its name last: a folder that was only half restored has none.
            fresh = Path(beside) / STORE
            write_atomically(fresh, contents[STORE])
            lost = _give_up_attempts(str(fresh))
            os.replace(fresh, folder.file(STORE))
        return Restored(manifest=manifest, lost=lost)
    finally:
        folder.release()


def _write(file: io.BufferedWriter, folder: StateFolder, manifest: Manifest, names: list[str]) -> None:
    from ampacity.store.copying import copy_database

    with tempfile.TemporaryDirectory() as work, tarfile.open(fileobj=file, mode="w") as archive:
        copy = Path(work) / STORE
        try:
            copy_database(folder.file(STORE), copy)
        except sqlite3.Error as error:
            raise StoreError(f"The store in {folder.path} cannot be copied: {error}.") from error
        _add(archive, MANIFEST, msgspec.json.encode(manifest))
        archive.add(copy, STORE)
        for name in names:
            _add(archive, name, folder.file(name).read_bytes())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))


def _manifest(source: Path, archive: tarfile.TarFile) -> Manifest:
    try:
        manifest = msgspec.json.decode(_read(source, archive, MANIFEST), type=Manifest)
    except msgspec.DecodeError as error:
        raise UserError(f"{source} is no backup of Ampacity's: {error}.") from error
    if manifest.format > FORMAT:
        raise UserError(f"{source} was made by Ampacity {manifest.release}.", hint="Install that release, or newer.")
    if not set(manifest.files) <= {STORE, *KEYS, *WITH_IT} or STORE not in manifest.files:
        raise UserError(f"{source} is no backup of Ampacity's: it names other files.")
    return manifest


def _read(source: Path, archive: tarfile.TarFile, name: str) -> bytes:
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise UserError(f"{source} is no backup of Ampacity's: {name} is missing.")
    return file.read()


def _give_up_attempts(path: str) -> int:
    """What ran when the backup was made does not run here. How many attempts that were."""
    store = open_store(path)
    try:
        live = [attempt for attempt in store.live().attempts.values() if not attempt.phase.ended]
        for start in range(0, len(live), LOT):
            store.append([_given_up(attempt) for attempt in live[start : start + LOT]])
        store.append((), cursors=dict.fromkeys(store.cursors(), ""))
        return len(live)
    finally:
        store.close()


def _given_up(attempt: Attempt) -> Draft:
    cause = Cause(kind=CauseKind.NODE_LOST, message="the state folder was restored from a backup")
    at = max(time.time(), attempt.placed_at)
    lost = evolve(attempt, AttemptLost(attempt=attempt.id, at=at, cause=cause))
    row = cast(Row, replace(lost, version=attempt.version + 1))
    return Draft(
        kind=EventKind.ATTEMPT_ENDED,
        at=at,
        changes=(put(row),),
        project=attempt.project,
        owner=attempt.owner,
        workload=attempt.workload,
        attempt=attempt.id,
        text=f"lost: {cause.message}",
    )

"""Opening an SQLite store: connections, the durable settings, and bringing the tables up to date."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from ampacity.model.errors import StoreCorrupt, StoreError, StoreTooNew

from .copying import copy_database
from .failures import FOREIGN_ERRORS, RESTORE, sqlite_error
from .place import network_filesystem
from .schema import HEAD

log = logging.getLogger(__name__)

APPLICATION_ID = 0x414D5043
"""Marks the file as ours (``AMPC``), as SQLite's file format provides."""

KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
BUSY_TIMEOUT_MS = 10_000

Ask = Callable[[str], list[Any]]
"""The first column of each row that a query answers."""


def open_engine(path: str, *, begin: str) -> Engine:
    """An engine whose transactions start with ``begin``: ``BEGIN`` for readers, ``BEGIN IMMEDIATE`` for the writer.

    Connections are made when they are first needed, after :func:`prepare` has seen what the file is.
    """
    url = URL.create("sqlite", database=path)  # not text: a path may hold what means something in a URL
    engine = create_engine(url, connect_args={"check_same_thread": False, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _: object) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def prepare(path: str, engine: Engine) -> None:
    """Make the tables, or bring those of an older release up to date. A file that is refused is left as it was.

    Raises:
        StoreTooNew: a newer release wrote it.
        StoreCorrupt: it is damaged, or not ours.
        StoreError: it cannot be opened now: no such folder, not allowed, held by another process, …
    """
    if path in ("", ":memory:"):
        raise StoreError("A store needs a file.", hint="Give its path, or memory: for one that is not kept.")
    if not Path(path).absolute().parent.is_dir():
        raise StoreError(f"The folder of {path} is not there.")
    kind = network_filesystem(path)
    if kind is not None:
        raise StoreError(
            f"{path} lies on a network file system ({kind}), where SQLite's locks do not hold.",
            hint="Use a state folder on a local disk, or keep the state in PostgreSQL with --store.",
        )
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)) as plain:
            standing = _standing(path, lambda query: [first for first, *_ in plain.execute(query)])
            plain.execute("PRAGMA journal_mode = WAL")  # kept in the file: for every connection from here on
        if standing != HEAD:
            if standing is not None:
                _keep_what_was(path)
            with engine.begin() as connection:
                _bring_up_to_date(path, connection)
    except FOREIGN_ERRORS as error:
        raise sqlite_error(f"{path} cannot be opened as a store", error) from error


def _keep_what_was(path: str) -> None:
    """A copy of an older release's store beside it, before anything is changed. One that is there already stays."""
    kept = f"{path}.before-{HEAD}"
    if os.path.exists(kept):
        return
    try:
        copy_database(path, kept)
    except OSError as error:
        raise StoreError(
            f"{path} has to be brought up to date, and cannot be copied to {kept} first: {error.strerror}.",
            hint="See that there is room on the disk and that this user may write there.",
        ) from error
    log.info("%s is brought up to date; it stays as it was in %s", path, kept)


def _bring_up_to_date(path: str, connection: Connection) -> None:
    """Migrate in one transaction, unless another process did so since."""
    if _standing(path, lambda query: list(connection.exec_driver_sql(query).scalars())) == HEAD:
        return
    migrate(connection)
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")


def _standing(path: str, ask: Ask) -> str | None:
    """The migration that the file stands at; ``None`` = it is new. Only reads."""
    tables = ask("SELECT name FROM sqlite_master WHERE type = 'table'")
    if not tables:
        return None
    if ask("PRAGMA application_id") != [APPLICATION_ID]:
        raise StoreCorrupt(f"{path} is a database, but not a store of Ampacity's.", hint="Use another state folder.")
    versions = ask("SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
    if not versions:
        raise StoreCorrupt(f"{path} does not say which release wrote it.", hint=RESTORE)
    version = str(versions[0])
    if version not in KNOWN:
        raise StoreTooNew(
            f"{path} was written by a newer release of Ampacity (its tables are at {version}; this release knows "
            f"up to {HEAD}).",
            hint="Install that release, or use another state folder.",
        )
    return version


def migrate(connection: Connection) -> None:
    """Bring the tables up to date, in the transaction that is open."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))  # Alembic reads % as the start of a name
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

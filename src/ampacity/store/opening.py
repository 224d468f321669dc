"""Opening an SQLite store: connections, the durable settings, and bringing the tables up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError

from ampacity.model.errors import StoreCorrupt, StoreError, StoreTooNew

from .schema import HEAD

APPLICATION_ID = 0x414D5043
"""Marks the file as ours (``AMPC``), as SQLite's file format provides."""

KNOWN = ("0001",)
BUSY_TIMEOUT_MS = 10_000


def open_engine(path: str, *, begin: str) -> Engine:
    """An engine whose transactions start with ``begin``: ``BEGIN`` for readers, ``BEGIN IMMEDIATE`` for the writer."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def prepare(path: str, engine: Engine) -> None:
    """Make the tables, or bring those of an older release up to date.

    Raises:
        StoreTooNew: a newer release wrote it.
        StoreCorrupt: it is damaged, or not ours.
    """
    if not Path(path).absolute().parent.is_dir():
        raise StoreError(f"The folder of {path} is not there.")
    try:
        with engine.begin() as connection:
            standing = _standing(path, connection)
            if standing == HEAD:
                return
            _migrate(connection)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    except DatabaseError as error:
        raise StoreCorrupt(
            f"{path} cannot be opened as a store: {error.orig}.", hint="Restore a backup, or use another state folder."
        ) from error


def _standing(path: str, connection: Connection) -> str | None:
    """The migration that the file stands at; ``None`` = it is new."""
    tables = {name for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return None
    if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
        raise StoreCorrupt(f"{path} is a database, but not a store of Ampacity's.", hint="Use another state folder.")
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if version not in KNOWN:
        raise StoreTooNew(
            f"{path} was written by a newer release of Ampacity (its tables are at {version}; this release knows "
            f"up to {HEAD}).",
            hint="Install that release, or use another state folder.",
        )
    return str(version)


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

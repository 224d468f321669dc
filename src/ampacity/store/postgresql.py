"""The PostgreSQL store: for a control plane that must not depend on one disk.

One control plane works on a store at a time. It holds an advisory lock as long as it is connected, and has its mark
in the store, which every write looks at: one that was cut off and taken over from writes nothing more.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ampacity.model.codec import encode_event
from ampacity.model.errors import StateFolderBusy, StoreCorrupt, StoreError, StoreTooNew
from ampacity.model.event import Draft, Event
from ampacity.model.receipt import Receipt

from . import schema
from .failures import RESTORE, postgresql_error
from .opening import KNOWN, migrate
from .schema import HEAD
from .sql import SqlStore
from .writing import Writer

log = logging.getLogger(__name__)

WRITER = Writer(insert, URL.create("postgresql+psycopg").get_dialect()())

SCHEMA = "ampacity"
"""All tables lie in a schema of this name."""

LOCK = 0x414D5043
"""The advisory lock of the control plane at work (``AMPC``)."""

OLDEST = 130000
"""PostgreSQL 13, as ``SHOW server_version_num`` says it."""

CONNECT_TIMEOUT_S = 5
READERS = 8
LOCK_TIMEOUT_S = 2
RESOLVE_S = 15.0
"""How long one goes on asking whether a write was committed whose answer was lost."""


class _Attempted(threading.local):
    """What this thread's last write would have added, once it had its numbers."""

    events: tuple[Event, ...] = ()


class PostgresqlStore(SqlStore):
    """Fulfils :class:`ampacity.store.base.Store`. The constructor raises what ``open_store`` raises, and
    ``StateFolderBusy`` when another control plane works on the store."""

    def __init__(self, where: str) -> None:
        url = _url(where)
        self.name = url.render_as_string(hide_password=True).replace("postgresql+psycopg", "postgresql")
        readers = _engine(url, "REPEATABLE READ", connections=READERS)
        super().__init__(_engine(url, "READ COMMITTED", connections=1), readers, WRITER)
        self._locks = _engine(url, "AUTOCOMMIT", connections=1)
        self._locked: Connection | None = None
        self._lock_lock = threading.Lock()
        self._mark = secrets.randbits(62)
        self._attempted = _Attempted()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock_lock:
            if self._locked is not None:
                with suppress(SQLAlchemyError):
                    self._locked.close()
                self._locked = None
        self._locks.dispose()
        super().close()

    def append(
        self,
        drafts: Sequence[Draft],
        *,
        cursors: Mapping[str, str] | None = None,
        receipts: Sequence[Receipt] = (),
    ) -> tuple[Event, ...]:
        self._attempted.events = ()  # a write that fails before it has numbers is not taken for the one before it
        try:
            return super().append(drafts, cursors=cursors, receipts=receipts)
        except StoreError as error:
            if not (isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated):
                raise
            return self._resolve(error, self._attempted.events)

    def _append(
        self, connection: Connection, drafts: Sequence[Draft], cursors: Mapping[str, str], receipts: Sequence[Receipt]
    ) -> tuple[Event, ...]:
        self._attempted.events = super()._append(connection, drafts, cursors, receipts)
        return self._attempted.events

    def _resolve(self, error: StoreError, attempted: tuple[Event, ...]) -> tuple[Event, ...]:
        """A write whose answer was lost was committed if its first event is there; else nothing of it was.

        The server may still be at it: whoever writes holds the row that counts until it has ended, so that row is
        waited for first.
        """
        if not attempted:
            raise error
        until = time.monotonic() + RESOLVE_S
        while True:
            try:
                with super()._writing() as connection:
                    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
                    connection.execute(
                        select(schema.marks.c.value).where(schema.marks.c.name == "seq").with_for_update()
                    )
                    query = select(schema.events.c.body).where(schema.events.c.seq == attempted[0].seq)
                    body = connection.execute(query).scalar()
            except StoreError:
                if time.monotonic() >= until:
                    message = f"{error.message} Whether it was written will be known when the database is back."
                    raise StoreError(message, hint=error.hint) from error
                time.sleep(0.1)
                continue
            if body is not None and bytes(body) == encode_event(attempted[0]):
                return attempted
            raise error

    # Opening -------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._hold_lock()
            with self._writer.begin() as connection:
                _refuse_old_server(connection)
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
                if _standing(connection, self.name) != HEAD:
                    migrate(connection)
                connection.execute(text("DELETE FROM marks WHERE name = 'holder'"))
                connection.execute(
                    text("INSERT INTO marks (name, value) VALUES ('holder', :mark)"), {"mark": self._mark}
                )
        except SQLAlchemyError as error:
            raise postgresql_error(f"{self.name} cannot be opened as a store", error) from error

    def _hold_lock(self) -> None:
        """Hold the lock, again after a connection was lost. Raises ``StateFolderBusy`` when another holds it."""
        with self._lock_lock:
            if self._locked is not None:
                try:
                    self._locked.execute(text("SELECT 1"))
                    return
                except SQLAlchemyError:
                    log.warning("the connection that held the lock of %s is gone; taking it again", self.name)
                    with suppress(SQLAlchemyError):
                        self._locked.invalidate()
                        self._locked.close()
                    self._locked = None
            connection = self._locks.connect()
            if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}).scalar_one():
                connection.close()
                raise StateFolderBusy(
                    f"Another control plane works on the store {self.name}.", hint="Stop it first with `ampacity down`."
                )
            self._locked = connection

    # Transactions --------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with super()._writing() as connection:
            # Locked until the end of the transaction: nobody can take over between this look and the commit.
            mark = select(schema.marks.c.value).where(schema.marks.c.name == "holder").with_for_update(read=True)
            held = connection.execute(mark).scalar()
            if held != self._mark:
                raise StoreError(
                    f"Another control plane has taken over the store {self.name}; this one writes nothing more.",
                    hint="End this one with `ampacity down`.",
                )
            yield connection

    def _failed(self, what: str, error: BaseException, *, after: str = "") -> StoreError:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            self._writer.dispose()
            self._readers.dispose()
            threading.Thread(target=self._lock_again, name="store-lock", daemon=True).start()
        return postgresql_error(f"The store {self.name} {what}", error, after=after)

    def _lock_again(self) -> None:
        """After a cut, so that nobody else takes the store for one that is free."""
        until = time.monotonic() + RESOLVE_S
        while time.monotonic() < until:
            try:
                self._hold_lock()
                return
            except StateFolderBusy as error:
                log.error("%s", error)
                return
            except SQLAlchemyError:
                time.sleep(0.2)


def _url(where: str) -> URL:
    try:
        return make_url(where).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            "That is no address of a PostgreSQL store.", hint="Such as postgresql://user@host:5432/database."
        ) from error


def _engine(url: URL, isolation: str, *, connections: int) -> Engine:
    try:
        return create_engine(
            url,
            isolation_level=isolation,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "ampacity",
                "options": f"-c search_path={SCHEMA} -c client_encoding=UTF8",
            },
        )
    except ModuleNotFoundError as error:
        raise StoreError(
            "The driver for PostgreSQL is not installed.", hint="pip install 'ampacity[postgresql]'"
        ) from error


def _refuse_old_server(connection: Connection) -> None:
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version < OLDEST:
        raise StoreError(f"The server is PostgreSQL {version // 10000}; 13 or newer is needed.")


def _standing(connection: Connection, name: str) -> str | None:
    """The migration that the store stands at; ``None`` = it is new."""
    query = text("SELECT table_name FROM information_schema.tables WHERE table_schema = :schema")
    tables = set(connection.execute(query, {"schema": SCHEMA}).scalars())
    if not tables:
        return None
    versions = (
        list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
        if ("alembic_version" in tables)
        else []
    )
    if not versions:
        raise StoreCorrupt(f"The schema {SCHEMA!r} of {name} is no store of Ampacity's.", hint=RESTORE)
    if versions[0] not in KNOWN:
        raise StoreTooNew(
            f"{name} was written by a newer release of Ampacity (its tables are at {versions[0]}; this release knows "
            f"up to {HEAD}).",
            hint="Install that release, or use another database.",
        )
    return str(versions[0])

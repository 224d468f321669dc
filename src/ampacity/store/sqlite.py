"""The SQLite store: one writer, readers that never wait for it, and durable answers."""

from __future__ import annotations

from sqlalchemy.dialects.sqlite import dialect, insert

from ampacity.model.errors import StoreError

from .failures import sqlite_error
from .opening import open_engine, prepare
from .sql import SqlStore
from .writing import Writer

WRITER = Writer(insert, dialect(paramstyle="named"))


class SqliteStore(SqlStore):
    """Fulfils :class:`ampacity.store.base.Store`. The constructor raises what ``open_store`` raises."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(open_engine(path, begin="BEGIN IMMEDIATE"), open_engine(path, begin="BEGIN"), WRITER)
        try:
            prepare(path, self._writer)
        except BaseException:
            self.close()
            raise

    def _failed(self, what: str, error: BaseException, *, after: str = "") -> StoreError:
        return sqlite_error(f"The store {self.path} {what}", error, after=after)

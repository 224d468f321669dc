"""SQLite's and SQLAlchemy's errors in our own words; nothing of theirs leaves the store."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ampacity.model.errors import StoreCorrupt, StoreError

FOREIGN_ERRORS = (SQLAlchemyError, sqlite3.Error)

RESTORE = "Restore a backup, or use another state folder."

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_HINTS = {
    sqlite3.SQLITE_BUSY: "Another process holds it: end that one, or try again.",
    sqlite3.SQLITE_LOCKED: "Another process holds it: end that one, or try again.",
    sqlite3.SQLITE_FULL: "Free some space on its disk.",
    sqlite3.SQLITE_IOERR: "See whether its disk is full or failing.",
    sqlite3.SQLITE_READONLY: "See that this user may write the file and its folder.",
    sqlite3.SQLITE_PERM: "See that this user may write the file and its folder.",
    sqlite3.SQLITE_CANTOPEN: "See that the folder is there and that this user may write in it.",
}


def sqlite_error(what: str, error: BaseException, *, after: str = "") -> StoreError:
    """The error to raise: ``StoreCorrupt`` where the file is damaged, or else what can be done about it.

    Args:
        what: the beginning of the sentence (``The store x failed``); the reason is put behind it.
        after: a sentence to add (``Nothing was written.``).
    """
    reason = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(reason, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF  # the low byte; above it are SQLite's finer distinctions
    message = f"{what}: {reason}. {after}".strip()
    if primary in _DAMAGED:
        return StoreCorrupt(message, hint=RESTORE)
    return StoreError(message, hint="" if primary is None else _HINTS.get(primary, ""))

"""The databases' and SQLAlchemy's errors in our own words; nothing of theirs leaves the store."""

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


_POSTGRESQL_HINTS = {
    "28P01": "Give the password by ~/.pgpass, PGPASSWORD or AMPACITY_STORE.",
    "28000": "See that the server lets this user in (its pg_hba.conf).",
    "3D000": "Make the database first, with createdb.",
    "42501": "See that this user may make a schema and tables there.",
    "53100": "Free some space on its disk.",
    "53300": "The server has too many connections: raise its max_connections.",
    "XX001": RESTORE,
    "XX002": RESTORE,
}
"""By the code of PostgreSQL's Appendix A."""

_UNREACHABLE = "See that the server runs and that its address is right."


def postgresql_error(what: str, error: BaseException, *, after: str = "") -> StoreError:
    """As :func:`sqlite_error`, of PostgreSQL."""
    reason = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(reason, "sqlstate", None) or _told_code(str(reason))
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    message = f"{what}: {first_line.rstrip('.')}. {after}".strip()
    if code in ("XX001", "XX002"):
        return StoreCorrupt(message, hint=RESTORE)
    hint = _POSTGRESQL_HINTS.get(code or "", "" if code else _UNREACHABLE)
    return StoreError(message, hint=hint)


def _told_code(reason: str) -> str | None:
    """A refused connection tells its reason in words alone."""
    words = {"password authentication failed": "28P01", "no password supplied": "28P01", "pg_hba.conf": "28000"}
    missing = "does not exist" in reason and "database" in reason
    return next((code for part, code in words.items() if part in reason), "3D000" if missing else None)

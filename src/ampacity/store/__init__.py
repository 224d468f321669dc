"""The store: rows and the events that made them. ``open_store`` is the door; nothing heavy is imported before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ampacity.model.errors import StoreError

if TYPE_CHECKING:
    from .base import Store

__all__ = ["open_store"]


def open_store(where: str) -> Store:
    """The store at a path, at ``sqlite:///path``, at ``postgresql://user@host/database``, or ``memory:``.

    Raises:
        StateFolderBusy: another control plane works on the PostgreSQL store.
        StoreTooNew: a newer release wrote it.
        StoreCorrupt: it is damaged, or not a store of ours.
        StoreError: it cannot be opened, or there is no such kind of store.
    """
    if where == "memory:":
        from .memory import MemoryStore

        return MemoryStore()
    scheme, mark, rest = where.partition("://")
    if mark and scheme in ("postgresql", "postgres"):
        from .postgresql import PostgresqlStore

        return PostgresqlStore(f"postgresql://{rest}")
    if mark and scheme != "sqlite":
        hint = "Use a path, sqlite:///path, postgresql://user@host/database or memory:."
        raise StoreError(f"There is no store of the kind {scheme!r}.", hint=hint)
    from .sqlite import SqliteStore

    return SqliteStore((rest[1:] if rest.startswith("/") else rest) if mark else where)

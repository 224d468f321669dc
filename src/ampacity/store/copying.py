"""Copies of an SQLite store while it is in use."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

PAGES = 2048
"""How many pages are copied at a time; writers go on in between."""


def copy_database(source: str | Path, target: str | Path) -> None:
    """A whole copy of the database as it is at one moment, under its name once it is complete and on the disk.

    Raises:
        sqlite3.Error: it cannot be read or written.
        OSError: the copy cannot be put into its place.
    """
    unfinished = f"{target}.unfinished"
    try:
        with (
            closing(sqlite3.connect(f"file:{_quoted(source)}?mode=ro", uri=True)) as read,
            closing(sqlite3.connect(unfinished)) as write,
        ):
            read.backup(write, pages=PAGES)
            write.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _quoted(path: str | Path) -> str:
    from urllib.parse import quote

    return quote(os.path.abspath(path))

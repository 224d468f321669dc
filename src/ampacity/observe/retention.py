"""Files of attempts that have ended: put aside, kept for a while, and dropped, the oldest first."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

from .places import ENDED, SUFFIX

KEPT_S = 7 * 24 * 3600.0
MOST_BYTES = 256 << 20
MOST_FILES = 2000
_BLOCK_BYTES = 512


def put_aside(folder: str, member: str) -> None:
    """Move the files of a member that has ended."""
    ended = os.path.join(folder, ENDED)
    os.makedirs(ended, mode=0o700, exist_ok=True)
    for name in os.listdir(folder):
        if name == f"member-{member}{SUFFIX}" or name.startswith(f"rank-{member}-"):
            os.replace(os.path.join(folder, name), os.path.join(ended, name))


def put_aside_all_but(folder: str, running: Collection[str]) -> None:
    """Move the files of all members but these: what ended while nobody watched."""
    for name in os.listdir(folder):
        if name.startswith("member-") and name.endswith(SUFFIX):
            member = name[len("member-") : -len(SUFFIX)]
            if member not in running:
                put_aside(folder, member)


def drop_old(
    folder: str, now: float, *, kept_s: float = KEPT_S, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES
) -> int:
    """Remove what was put aside longer ago than ``kept_s``, and the oldest of what is too much. How many were removed.

    What counts is the room that the files take, which is less than their length: what was never written is a hole.
    """
    ended = os.path.join(folder, ENDED)
    try:
        entries = [(entry, entry.stat()) for entry in os.scandir(ended)]
    except FileNotFoundError:
        return 0
    entries.sort(key=lambda each: -each[1].st_mtime)
    removed, total_bytes = 0, 0
    for count, (entry, found) in enumerate(entries, 1):
        total_bytes += found.st_blocks * _BLOCK_BYTES
        if now - found.st_mtime > kept_s or total_bytes > most_bytes or count > most_files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)
            removed += 1
    return removed

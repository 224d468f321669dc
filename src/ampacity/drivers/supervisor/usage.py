"""How much disk a folder takes."""

from __future__ import annotations

import os


def disk_bytes(folder: str) -> int:
    """The space of all files below, holes left out. Links are not followed, nor other file systems entered; a file
    with several names counts once. What vanishes meanwhile, or cannot be read, does not count."""
    try:
        device = os.stat(folder).st_dev
    except OSError:
        return 0
    total = 0
    seen: set[int] = set()
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    found = _stat(entry)
                    if found is None or found.st_dev != device:
                        continue
                    if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if found.st_ino in seen:
                            continue
                        seen.add(found.st_ino)
                    total += found.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue
    return total


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None

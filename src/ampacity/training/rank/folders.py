"""Checkpoints on disk: a folder a step, and a marker that is written last. Without its marker one does not count."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

MARKER = "complete"
_NAME = re.compile(r"step-(\d{8,})")


def folder_of(root: Path, step: int) -> Path:
    return root / f"step-{step:08d}"


def complete(root: Path) -> "list[int]":
    """The steps of the complete checkpoints, newest first."""
    if not root.is_dir():
        return []
    steps = [int(match.group(1)) for path in root.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((step for step in steps if (folder_of(root, step) / MARKER).is_file()), reverse=True)


def begin(root: Path, step: int) -> Path:
    """An empty folder for the step: what an earlier, interrupted save left there is removed."""
    folder = folder_of(root, step)
    if folder.exists():
        (folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def seal(folder: Path) -> None:
    """Make everything in the folder durable, then write the marker. Raises ``OSError``."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)
    sync(folder)
    marker = folder / MARKER
    marker.write_text("")
    sync(marker)
    sync(folder)
    sync(folder.parent)


def prune(root: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` complete ones. The marker goes first: a half removed one does not count."""
    for step in complete(root)[keep:]:
        folder = folder_of(root, step)
        (folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

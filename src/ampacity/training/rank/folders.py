"""Checkpoints on disk: a folder a step, made under another name and renamed when it is whole.

``saving-00000100`` is being written. Its marker, the file ``complete``, is written last and lists the other files with
their sizes and checksums. Then the folder becomes ``step-00000100``; one of that name is moved aside first. Whatever a
kill leaves behind is either finished by :func:`settle` (the marker is there) or never counts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import Dict, List, Tuple

FORMAT = 1
MARKER = "complete"
CHUNK_BYTES = 1 << 20
_STEP = re.compile(r"step-(\d{8,})")
_SAVING = re.compile(r"saving-(\d{8,})")
_OWNER = re.compile(r"__(\d+)_")

Sums = Dict[str, Tuple[int, int]]
"""By file name: its size in bytes and the CRC-32 of its content."""


def folder_of(root: Path, step: int) -> Path:
    return root / f"step-{step:08d}"


def saving_of(root: Path, step: int) -> Path:
    return root / f"saving-{step:08d}"


def complete(root: Path) -> "list[int]":
    """The steps of the complete checkpoints, newest first."""
    if not root.is_dir():
        return []
    steps = [int(match.group(1)) for path in root.iterdir() if (match := _STEP.fullmatch(path.name))]
    return sorted((step for step in steps if (folder_of(root, step) / MARKER).is_file()), reverse=True)


def begin(root: Path, step: int) -> Path:
    """An empty folder to save into. What earlier, interrupted saves left is removed. Raises ``OSError``."""
    root.mkdir(parents=True, exist_ok=True)
    settle(root)
    folder = saving_of(root, step)
    folder.mkdir()
    return folder


def settle(root: Path) -> None:
    """Finish the renames that a kill interrupted, and remove unfinished saves. Raises ``OSError``."""
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        match = _SAVING.fullmatch(path.name)
        if match is None:
            continue
        if (path / MARKER).is_file():
            _publish(root, int(match.group(1)))
        else:
            shutil.rmtree(path)
    for path in root.glob("replaced-*"):
        shutil.rmtree(path)


def give_up(folder: Path) -> None:
    """Free the space of a save that failed, unless it had got as far as its marker."""
    if not (folder / MARKER).is_file():
        shutil.rmtree(folder, ignore_errors=True)


def sums_of(folder: Path, rank: int, world_size: int) -> Sums:
    """Make this rank's files durable and answer their checksums. Raises ``OSError``.

    Files are named ``__<rank>_<n>.distcp`` after the rank that wrote them; all others are rank 0's.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        match = _OWNER.match(path.name)
        if path.is_file() and (int(match.group(1)) % world_size if match else 0) == rank:
            sync(path)
            found[path.name] = _sum(path)
    return found


def seal(root: Path, step: int, sums: Sums) -> Path:
    """Write the marker and give the folder its name; its path. Raises ``OSError``."""
    folder = saving_of(root, step)
    sync(folder)
    fresh = folder / f"{MARKER}.new"
    fresh.write_text(json.dumps({"format": FORMAT, "step": step, "files": sums}))
    sync(fresh)
    os.replace(fresh, folder / MARKER)
    sync(folder)
    _publish(root, step)
    return folder_of(root, step)


def _publish(root: Path, step: int) -> None:
    target, aside = folder_of(root, step), root / f"replaced-{step:08d}"
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(target, aside)
    os.replace(saving_of(root, step), target)
    sync(root)
    shutil.rmtree(aside, ignore_errors=True)


def damage(folder: Path, rank: int, world_size: int) -> str:
    """What is wrong with this rank's share of the files; empty when nothing is. Raises ``OSError``."""
    try:
        marker = json.loads((folder / MARKER).read_text())
        files = sorted((str(name), int(size), int(crc)) for name, (size, crc) in marker["files"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"its file {MARKER!r} makes no sense"
    for name, size, crc in files[rank::world_size]:
        path = folder / name
        if not path.is_file():
            return f"its file {name} is gone"
        found = path.stat().st_size
        if found != size:
            return f"its file {name} has {found} bytes instead of {size}"
        if _sum(path) != (size, crc):
            return f"the content of its file {name} has changed since it was written"
    return ""


def prune(root: Path, keep: int, newest: int) -> None:
    """Of the complete ones before the step ``newest`` leave ``keep - 1``; it and later ones are never removed.

    Later ones are there when the run went back to an earlier step because they were damaged. The marker goes first: a
    half removed one does not count.
    """
    older = [step for step in complete(root) if step < newest]
    for step in older[max(0, keep - 1) :]:
        folder = folder_of(root, step)
        (folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def merged(parts: "List[Sums]") -> Sums:
    return {name: entry for part in parts for name, entry in part.items()}


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sum(path: Path) -> "Tuple[int, int]":
    size = crc = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            if not chunk:
                return size, crc
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)

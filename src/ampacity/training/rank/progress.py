"""``report``: one line of JSON a step, appended in one write, read by the agent and by whoever draws the loss curve."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any, Optional, SupportsFloat, SupportsInt

from .place import info

_file: Optional[int] = None
_owner: Optional[int] = None
_told = False


def report(
    *, step: SupportsInt, loss: Optional[SupportsFloat] = None, tokens: Optional[SupportsInt] = None, **more: Any
) -> None:
    """Say how far the run is. Outside a job of Ampacity this does nothing.

    Numbers may also be NumPy's, or tensors of one element. One that is not finite (a loss that has become NaN) is left
    out, since JSON has no such number. A full disk loses reports, with a word on stderr; it does not end the run.

    Args:
        step: the step that was just completed; from 1.
        loss: of this step; any unit, as long as it is the same throughout.
        tokens: seen since the run began, over all ranks.
        more: other numbers, kept beside these.

    Raises:
        TypeError, ValueError: one of them is no number.
    """
    line = {"step": int(step), "loss": None if loss is None else float(loss)}
    line["tokens"] = None if tokens is None else int(tokens)
    for name, value in more.items():
        line[name] = value if isinstance(value, (bool, int)) else float(value)
    append({name: value for name, value in line.items() if value is not None and math.isfinite(value)})


def append(line: "dict[str, object]") -> None:
    """Append to this rank's progress file, with the time and the incarnation."""
    try:
        file = _open()
        if file is None:
            return
        head = {"at": time.time(), "incarnation": info().incarnation}
        os.write(file, json.dumps({**head, **line}, separators=(",", ":")).encode() + b"\n")
    except OSError as error:
        _complain(error)


def _complain(error: OSError) -> None:
    """Once: progress is for people to see, and not worth the run."""
    global _told
    if not _told:
        _told = True
        text = f"ampacity: progress is not reported: {error.strerror}"
        print(text, file=sys.stderr, flush=True)


def _open() -> Optional[int]:
    """The file, kept open; a forked child opens its own. ``None`` outside a job."""
    global _file, _owner
    if _owner == os.getpid():
        return _file
    place = info()
    if not place.member_dir:
        _file, _owner = None, os.getpid()
        return None
    folder = os.path.join(place.member_dir, "progress")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"rank-{place.rank}.jsonl")
    _file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _owner = os.getpid()
    size = os.fstat(_file).st_size
    if size and os.pread(_file, 1, size - 1) != b"\n":  # an incarnation before was killed while it wrote
        os.write(_file, b"\n")
    return _file

"""``report``: one line of JSON a step, appended in one write, read by the agent and by whoever draws the loss curve."""

from __future__ import annotations

import json
import os
import time
from typing import Optional, Union

from .place import info

Number = Union[int, float]

_file: Optional[int] = None
_owner: Optional[int] = None


def report(*, step: int, loss: Optional[Number] = None, tokens: Optional[int] = None, **more: Number) -> None:
    """Say how far the run is. Outside a job of Ampacity this does nothing.

    Args:
        step: the step that was just completed; from 1.
        loss: of this step; any unit, as long as it is the same throughout.
        tokens: seen since the run began, over all ranks.
        more: other numbers, kept beside these.
    """
    line = {"step": step, "loss": None if loss is None else float(loss), "tokens": tokens, **more}
    append({name: value for name, value in line.items() if value is not None})


def append(line: "dict[str, object]") -> None:
    """Append to this rank's progress file, with the time and the incarnation."""
    file = _open()
    if file is None:
        return
    place = info()
    text = json.dumps({"at": time.time(), "incarnation": place.incarnation, **line}, separators=(",", ":"))
    os.write(file, text.encode() + b"\n")


def _open() -> Optional[int]:
    """The file, kept open; a forked child opens its own. ``None`` outside a job."""
    global _file, _owner
    if _owner == os.getpid():
        return _file
    place = info()
    _owner = os.getpid()
    if not place.member_dir:
        _file = None
        return None
    folder = os.path.join(place.member_dir, "progress")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"rank-{place.rank}.jsonl")
    _file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return _file

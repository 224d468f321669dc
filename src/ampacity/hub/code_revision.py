"""Which code made a model: the git commit of a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

LIMIT_S = 10.0


def code_revision(folder: str | Path) -> str:
    """The commit that is checked out there, with ``+changes`` when files differ from it; empty without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"git:{commit}" + ("+changes" if changes else "")


def _git(folder: str | Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

"""Waiting for a control plane to be gone."""

from __future__ import annotations

import time
from pathlib import Path

from ampacity.model.errors import AmpacityError

LOOK_EVERY_S = 0.05


def wait_until_gone(state_dir: Path, pid: int | None, *, timeout_s: float) -> None:
    """Until its process has ended. Raises ``AmpacityError`` when that takes longer."""
    until = time.monotonic() + timeout_s
    while _alive(pid) if pid is not None else (state_dir / "control.json").exists():
        if time.monotonic() >= until:
            process = f" (process {pid})" if pid is not None else ""
            raise AmpacityError(
                f"The control plane{process} is still shutting down after {timeout_s:g} s.",
                hint=f"{state_dir / 'control.log'} says what it does.",
            )
        time.sleep(LOOK_EVERY_S)


def _alive(pid: int) -> bool:
    """One that has ended and was not reaped yet does not count."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

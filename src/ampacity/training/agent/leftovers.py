"""Ending what ranks left behind in sessions of their own: found by the member's mark in its environment."""

from __future__ import annotations

import os
import signal
import time

LIMIT_S = 5.0


def end_leftovers() -> None:
    """SIGKILL every process that a rank of this member started, until none is found (or for ``LIMIT_S``).

    Processes of ranks carry both the member's mark and ``RANK``; the agent and its supervisor carry no ``RANK``.
    """
    mark = b"AMPACITY_MEMBER=" + os.environb[b"AMPACITY_MEMBER"]
    folder = b"AMPACITY_MEMBER_DIR=" + os.environb[b"AMPACITY_MEMBER_DIR"]
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = [pid for pid in _pids() if _is_ranks(pid, mark, folder)]
        if not found or time.monotonic() > deadline:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(0.005)


def _pids() -> "list[int]":
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def _is_ranks(pid: int, mark: bytes, folder: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return False
    return mark in entries and folder in entries and any(entry.startswith(b"RANK=") for entry in entries)

"""One collector for each state folder: a later one has the earlier one end, and takes over."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time

ENDS_WITHIN_S = 5.0
LOOK_AGAIN_S = 0.02


class Busy(Exception):
    """Another process holds the lock and does not end."""


def take_over(path: str) -> int:
    """The lock's descriptor, to be kept open. Whoever holds it is asked to end, and killed when it does not.

    Raises:
        Busy: it is still held then.
        OSError: the file cannot be used.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 2 * ENDS_WITHIN_S
    while not _try(fd):
        if time.monotonic() >= deadline:
            os.close(fd)
            raise Busy(f"{path} is held by another process")
        _end_holder(fd)
        time.sleep(LOOK_AGAIN_S)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {start_ticks(os.getpid())}".encode(), 0)
    return fd


def holder(path: str) -> int | None:
    """The pid of the process that wrote itself down there and lives."""
    try:
        with open(path, "rb") as file:
            return _living(file.read())
    except FileNotFoundError:
        return None


def start_ticks(pid: int) -> int | None:
    """With the pid this names a process until the machine is started again."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_holder(fd: int) -> None:
    pid = _living(os.pread(fd, 64, 0))
    if pid is None:
        return  # it has only just taken the lock, or has let go of it
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if _living(os.pread(fd, 64, 0)) != pid:
                return
            signal.pidfd_send_signal(pidfd, signum)
            if select.select([pidfd], [], [], ENDS_WITHIN_S)[0]:
                return
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def _living(written: bytes) -> int | None:
    fields = written.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    pid, started = int(fields[0]), int(fields[1])
    return pid if start_ticks(pid) == started else None

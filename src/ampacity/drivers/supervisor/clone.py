"""Forking into a cgroup (v2) in one step: clone3(2) with CLONE_INTO_CGROUP, Linux 5.7.

Moving a process after its fork waits for all CPUs of the machine to pass through a quiet state, which takes some
20 ms; being born there takes none.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SYS_CLONE3 = 435
_CLONE_INTO_CGROUP = 0x200000000
_ARGUMENTS = 11

_clone: Callable[[int], int] | None = None


def load() -> None:
    """Find the function once, in the warm parent, so that the forked supervisors have it already."""
    global _clone
    try:
        import ctypes

        syscall = ctypes.CDLL(None).syscall
        syscall.restype = ctypes.c_long
    except (ImportError, OSError, AttributeError):
        return

    def clone(cgroup_fd: int) -> int:
        arguments = (ctypes.c_uint64 * _ARGUMENTS)(_CLONE_INTO_CGROUP)
        arguments[4], arguments[10] = signal.SIGCHLD, cgroup_fd
        return int(syscall(ctypes.c_long(_SYS_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(_ARGUMENTS * 8)))

    _clone = clone


def fork_into(cgroup: str) -> tuple[int, bool]:
    """As ``os.fork``, with the child in the cgroup of that folder. ``False``: it is not, it has to be moved there.

    Only for a process with one thread, whose child does nothing but prepare its exec: Python is not told of the fork.
    """
    if cgroup and _clone is not None:
        try:
            fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return os.fork(), False
        try:
            pid = _clone(fd)
        finally:
            os.close(fd)
        if pid >= 0:
            return pid, True
    return os.fork(), False

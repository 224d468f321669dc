"""Become a command inside a running member: its environment, its limits, its place; with a terminal or without.

Run by path: ``python -I -S enter.py FOLDER PID TERMINAL IDENT WORKDIR COMMAND...``. ``PID`` is the member's main
process, whose environment is taken over in memory: it may hold secrets. ``TERMINAL`` 1: descriptor 0 becomes the
controlling terminal. ``IDENT`` marks all that the command starts (``AMPACITY_EXEC``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import sys
import termios

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    __package__ = "supervisor"

from . import prctl
from .cgroup import Cgroup
from .disk import read_json
from .mounts import Mounts, join
from .processes import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

EXEC_MARK = "AMPACITY_EXEC"
CANNOT_ENTER = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
"""Exit codes as ``docker exec`` and shells have them."""


def main(folder: str, pid: int, terminal: bool, ident: str, workdir: str, argv: list[str]) -> NoReturn:
    try:
        prctl.die_with_parent(signal.SIGHUP)
        env = _environment(folder, pid)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            env.setdefault("TERM", "xterm-256color")
        member = read_json(os.path.join(folder, "member.json")) or {}
        _share_limits(member, pid)
        if Mounts(member).asked:
            join(pid)
            prctl.die_with_parent(signal.SIGHUP)  # anew: who enters a user namespace loses it
        os.chdir(workdir)
    except OSError as error:
        _fail(f"the job cannot be entered: {error}", CANNOT_ENTER)
    env[EXEC_MARK] = ident
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            _fail(f"command not found: {argv[0]}", NOT_FOUND)
        _fail(f"{argv[0]}: {error.strerror}", NOT_EXECUTABLE)


def _environment(folder: str, pid: int) -> dict[str, str]:
    """That of the member's main process. Raises ``OSError`` when the process is another by now."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = [entry.partition(b"=") for entry in file.read().split(b"\0") if entry]
    env = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    if env.get(MARK) != os.path.basename(folder):
        raise OSError(errno.ESRCH, "its process has ended")
    return env


def _share_limits(member: Mapping[str, Any], pid: int) -> None:
    Cgroup(member.get("cgroups") or {}).enter()
    os.sched_setaffinity(0, os.sched_getaffinity(pid))
    nice = os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0)
    if nice > 0:
        os.nice(nice)
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CORE):
        resource.setrlimit(kind, resource.prlimit(pid, kind))


def _fail(text: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(2, f"ampacity: {text}\n".encode())
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4], sys.argv[5], sys.argv[6:])

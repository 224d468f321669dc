"""Why a member ended, told from what the supervisor saw."""

from __future__ import annotations

import os

from .limits import MEMORY_ADVICE, memory_words, size
from .processes import signal_name
from .small_files import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .cgroup import Cgroup

KINDS = (
    "completed",
    "exit",
    "signal",
    "out_of_memory",
    "time_limit",
    "disk_full",
    "disk_quota",
    "setup_failed",
    "launch_failed",
    "stopped",
    "unhealthy",
    "supervisor_died",
    "node_lost",
    "node_rebooted",
    "device_failed",
    "preempted",
)
_KILLED = 9
_SHELL_KILLED = 128 + _KILLED


def cause(
    kind: str,
    message: str = "",
    *,
    exit_code: int | None = None,
    signum: int | None = None,
    rank: int | None = None,
) -> dict[str, Any]:
    """A cause in its form on disk, without the last lines."""
    return {"kind": kind, "exit_code": exit_code, "signal": signum, "rank": rank, "message": message}


def of_agent(report: Mapping[str, Any] | None, kills: Kills) -> dict[str, Any] | None:
    """The cause that the agent left in ``cause.json``; ``None`` when there is none or it makes no sense. That a rank
    was killed the agent sees, not why: for want of memory the kernel's count says."""
    if report is None or report.get("kind") not in KINDS:
        return None
    numbers = {name: report.get(name) for name in ("exit_code", "signal", "rank")}
    if any(isinstance(value, bool) or not isinstance(value, (int, type(None))) for value in numbers.values()):
        return None
    kind, message = report["kind"], str(report.get("message") or "")
    if kind == "signal" and numbers["signal"] == _KILLED and kills.happened():
        kind, message = "out_of_memory", kills.words()
    return {"kind": kind, **numbers, "message": message}


def of_status(status: int, *, setup: bool, kills: Kills, lost_lines: int = 0, full_disk: str = "") -> dict[str, Any]:
    """The cause of a process that ended by itself, from its ``waitpid`` status.

    Args:
        setup: it was the setup script.
        kills: what the kernel killed for want of memory while the member ran.
        lost_lines: lines of output that could not be written, because of ``full_disk`` or otherwise.
        full_disk: the folder on whose disk there is no room left; empty = there is.
    """
    code = os.waitstatus_to_exitcode(status)
    signum = -code if code < 0 else None
    exit_code = code if code >= 0 else None
    why = "the disk is full" if full_disk else "the log could not be written"
    lost = f"; {lost_lines} lines of its output were lost because {why}" if lost_lines else ""
    if code == 0 and not setup:
        return cause("completed", lost.lstrip("; "), exit_code=0)
    killed = signum == _KILLED or exit_code == _SHELL_KILLED
    if code != 0 and (killed or kills.certain) and kills.happened():
        more = "" if killed else f"; one of its processes was killed, and it ended with {_how(exit_code, signum)}"
        return cause("out_of_memory", kills.words() + more, exit_code=exit_code, signum=signum)
    if setup:
        how = f"was ended by {signal_name(signum)}" if signum else f"ended with exit code {exit_code}"
        return cause("setup_failed", f"the setup script {how}{lost}", exit_code=exit_code, signum=signum)
    if full_disk:
        text = f"it ended with {_how(exit_code, signum)}, and {full_words(full_disk)}{lost}"
        return cause("disk_full", text, exit_code=exit_code, signum=signum)
    if signum is not None:
        hint = _KILL_HINT if signum == _KILLED and not kills.certain else _OTHERS_KILL if signum == _KILLED else ""
        return cause("signal", f"ended by {signal_name(signum)}{hint}", signum=signum)
    return cause("exit", _exit_text(exit_code or 0), exit_code=exit_code)


def of_device(found: dict[str, Any], check: Mapping[str, Any] | None, env: Mapping[str, str]) -> dict[str, Any]:
    """The same cause, or its devices' fault, where the job seems to have failed by itself and something happened to
    them."""
    if not check or found["kind"] not in ("exit", "signal"):
        return found
    from . import device_check

    words = device_check.blame(check, env)
    return {**found, "kind": "device_failed", "message": f"{words}; {found['message']}"} if words else found


def full_words(folder: str) -> str:
    """``the disk under /data is full (1 TB): …``"""
    return f"the disk under {folder} is full{_disk_size(folder)}: free some of it, or use another folder"


def _disk_size(folder: str) -> str:
    try:
        found = os.statvfs(folder)
    except OSError:
        return ""
    return f" ({size(found.f_blocks * found.f_frsize)})"


_KILL_HINT = (
    ": not sent by Ampacity. Somebody's kill -9, or the kernel for want of memory, though its counters do not show that"
)


_OTHERS_KILL = ": not sent by Ampacity, nor by the kernel for want of memory. Somebody's kill -9"


def _how(exit_code: int | None, signum: int | None) -> str:
    return signal_name(signum) if signum is not None else f"exit code {exit_code}"


def _exit_text(code: int) -> str:
    if code == 127:
        return "exit code 127: a shell did not find a command"
    if code == 126:
        return "exit code 126: a shell could not run a command"
    if 128 < code < 160:
        return f"exit code {code}: a shell's way to say that its command was ended by {signal_name(code - 128)}"
    return f"exit code {code}"


class Kills:
    """Whether the kernel killed for want of memory since this was made.

    ``certain``: told from the member's own cgroup. Else from the counters of ours and of the machine, which count for
    others too.
    """

    __slots__ = ("_before", "_group", "_limit_bytes", "certain")

    def __init__(self, group: Cgroup, limit_bytes: int | None = None) -> None:
        self.certain = group.has("memory")
        self._group = group
        self._limit_bytes = limit_bytes
        self._before = {} if self.certain else _kill_counters()

    def happened(self) -> bool:
        if self.certain:
            return self._group.memory_kills() > 0
        return any(count > self._before.get(name, count) for name, count in _kill_counters().items())

    def words(self) -> str:
        if self.certain and self._limit_bytes:
            return memory_words(self._limit_bytes, self._group.memory_peak_bytes())
        return f"the kernel killed it because memory ran out on this node; {MEMORY_ADVICE}"


def _kill_counters() -> dict[str, int]:
    """Counters called ``oom_kill``, by the file they stand in: cgroup v2, cgroup v1, and the whole machine."""
    found = {}
    for path in (*_cgroup_files(), "/proc/vmstat"):
        text = read_text(path)
        start = text.find("\noom_kill ") + 1
        value = text[start:].partition("\n")[0].partition(" ")[2].strip() if start else ""
        if value.isdigit():
            found[path] = int(value)
    return found


def _cgroup_files() -> list[str]:
    entries = [line.split(":", 2) for line in read_text("/proc/self/cgroup").splitlines()]
    files = []
    for entry in entries:
        if len(entry) == 3 and entry[1] == "":
            files.append(f"/sys/fs/cgroup{entry[2].rstrip('/')}/memory.events")
        elif len(entry) == 3 and "memory" in entry[1].split(","):
            files.append(f"/sys/fs/cgroup/memory{entry[2].rstrip('/')}/memory.oom_control")
    return files

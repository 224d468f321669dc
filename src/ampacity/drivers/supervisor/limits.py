"""What a member may use, and how that is held: by its cgroup, else by affinity, and by looking every few seconds.

No rlimits: RLIMIT_AS and RLIMIT_DATA count addresses, of which CUDA and thread stacks take far more than they use;
RLIMIT_NPROC counts all processes of the user; RLIMIT_RSS does nothing (getrlimit(2), setrlimit(2)).
"""

from __future__ import annotations

import fcntl
import os

from .cgroup import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PART_OF_A_CPU_NICE = 5
MEMORY_ADVICE = "ask for more with resources.memory, or use less"


class Limits:
    """Of one member, as ``member.json`` has them.

    ``asked``: ``cpu_share_milli`` (what is promised), ``cpu_milli``, ``memory_bytes``, ``processes``, ``disk_bytes``,
    ``log_bytes`` (what is the most), ``devices_denied`` (``c 195:3 rwm``); what is absent or ``None`` is not limited.
    """

    __slots__ = ("_cpus", "_locks", "asked", "group")

    def __init__(self, member: Mapping[str, Any]) -> None:
        self.asked: dict[str, Any] = member.get("limits") or {}
        self.group = Cgroup(member.get("cgroups") or {})
        self._cpus: set[int] = set()
        self._locks: list[int] = []

    def make(self, folder: str) -> None:
        """Have them ready before the first process starts. Raises ``OSError`` where what the node promised fails.

        Args:
            folder: where members of this node take CPUs by lock files, when no cgroup limits those.
        """
        if self.group:
            self.group.make(self.asked)
        limit_milli = self.asked.get("cpu_milli")
        if limit_milli and not self.group.has("cpu"):
            self._cpus, self._locks = take_cpus(folder, -(-limit_milli // 1000))

    def enter(self, born_in_tree: bool) -> None:
        """Subject the calling process, and all that it starts, to them. Raises ``OSError``.

        Args:
            born_in_tree: it was forked into the group's ``tree``.
        """
        self.group.enter(born_in_tree=born_in_tree)
        if self._cpus:
            os.sched_setaffinity(0, self._cpus)
            if self.asked["cpu_milli"] < 1000:
                os.nice(PART_OF_A_CPU_NICE)

    @property
    def watched_memory_bytes(self) -> int | None:
        """The limit that somebody has to watch, because the kernel does not."""
        return None if self.group.has("memory") else self.asked.get("memory_bytes") or None


def memory_words(limit_bytes: int, used_bytes: int | None) -> str:
    """What a member that is out of memory is told."""
    used = f" (it used {size(used_bytes)})" if used_bytes is not None and used_bytes > limit_bytes else ""
    return f"it needed more memory than its limit of {size(limit_bytes)}{used}; {MEMORY_ADVICE}"


def size(count_bytes: int) -> str:
    """``64 MB``, ``1.5 GB``."""
    value = float(count_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def take_cpus(folder: str, count: int) -> tuple[set[int], list[int]]:
    """So many of our CPUs, and the descriptors of their locks. Those that nobody took first; when too few are left,
    others are shared."""
    ours = sorted(os.sched_getaffinity(0))
    if count >= len(ours):
        return set(ours), []
    os.makedirs(folder, mode=0o700, exist_ok=True)
    taken: set[int] = set()
    locks = []
    for cpu in ours:
        if len(taken) == count:
            break
        fd = os.open(os.path.join(folder, str(cpu)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        taken.add(cpu)
        locks.append(fd)
    start = int.from_bytes(os.urandom(2), "little")
    others = [cpu for cpu in ours if cpu not in taken]
    for step in range(count - len(taken)):
        taken.add(others[(start + step) % len(others)])
    return taken, locks

"""Which processes belong to which member, and what they use: one ``pread`` of a kept descriptor for each and look."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from .proc_files import KeptFile, network_bytes

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NO_RANK = -1
LOOKS_FOR_A_RANK = 3


class Usage:
    """Sums over processes; used again for each sample. ``cpu_s`` counts children that were waited for."""

    __slots__ = ("cpu_s", "memory_bytes", "processes", "read_bytes", "threads", "written_bytes")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.cpu_s = 0.0
        self.memory_bytes = self.processes = self.threads = 0
        self.read_bytes = self.written_bytes = 0

    def add(self, process: Process) -> None:
        """As the process was when it was last looked at."""
        self.cpu_s += process.cpu_s
        self.threads += process.threads
        self.memory_bytes += process.memory_bytes
        self.read_bytes += process.read_bytes
        self.written_bytes += process.written_bytes
        self.processes += 1


class Process:
    """One process of a member, and what it used when it was last looked at."""

    __slots__ = (
        "_io",
        "_stat",
        "cpu_s",
        "member",
        "memory_bytes",
        "pid",
        "rank",
        "read_bytes",
        "threads",
        "written_bytes",
    )

    def __init__(self, pid: int, member: str) -> None:
        self.pid, self.member, self.rank = pid, member, NO_RANK
        self._stat = KeptFile(f"/proc/{pid}/stat", limit=1024)
        self._io = KeptFile(f"/proc/{pid}/io", limit=512)
        self.cpu_s = 0.0
        self.threads = self.memory_bytes = self.read_bytes = self.written_bytes = 0

    def look(self, *, io: bool) -> bool:
        """Read anew what it uses. ``False`` when it is gone."""
        text = self._stat.read()
        if not text:
            return False
        fields = text[text.rfind(b")") + 2 :].split()
        self.cpu_s = (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) * _TICK_S
        self.threads = int(fields[17])
        self.memory_bytes = int(fields[21]) * _PAGE_BYTES
        if io:
            self._look_at_io()
        return True

    def _look_at_io(self) -> None:
        """What reached the disks, children that were waited for included (``read_bytes``, ``write_bytes``: proc(5))."""
        text = self._io.read()
        at = text.find(b"\nread_bytes: ")
        if at >= 0:
            lines = text[at + 1 :].split(b"\n")
            self.read_bytes, self.written_bytes = int(lines[0].split()[1]), int(lines[1].split()[1])

    def close(self) -> None:
        self._stat.close()
        self._io.close()


class ProcessTable:
    """Finds new processes by their parents. Supervisors adopt orphans, so what was a member's once stays it."""

    def __init__(self) -> None:
        self.of_member: dict[str, dict[int, Process]] = {}
        self._supervisors: dict[int, str] = {}
        self._ranked: set[str] = set()
        self._members: dict[int, str] = {}
        self._strangers: dict[int, int] = {}
        self._unranked: dict[int, int] = {}
        self._added = False

    def add(self, member: str, supervisor: int, *, ranked: bool) -> None:
        """``ranked``: its processes carry their rank in the environment."""
        self._supervisors[supervisor] = member
        if ranked:
            self._ranked.add(member)
        self.of_member[member] = {}
        self._added = True

    def remove(self, member: str) -> None:
        for process in self.of_member.pop(member, {}).values():
            self._forget(process)
        self._ranked.discard(member)
        self._supervisors = {pid: name for pid, name in self._supervisors.items() if name != member}

    def look(self) -> None:
        """Take in the processes that are new. Of a stranger only its parent is kept, in case it turns out to be the
        child of a member that is told of later."""
        if not self._supervisors:
            return
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        for pid in self._strangers.keys() - pids:
            del self._strangers[pid]
        new = {pid: _parent(pid) for pid in pids if pid not in self._strangers and pid not in self._members}
        self._strangers.update(new)
        added, self._added = self._added, False
        for pid in sorted(self._strangers if added else new):
            member = self._member_of(pid)
            if member is not None:
                self._take_in(pid, member)
        self._look_for_ranks()

    def forget(self, gone: Iterable[Process]) -> None:
        for process in gone:
            self.of_member.get(process.member, {}).pop(process.pid, None)
            self._forget(process)

    def process(self, pid: int) -> Process | None:
        """The process with that pid, when it is a member's."""
        member = self._members.get(pid)
        return None if member is None else self.of_member[member].get(pid)

    def _member_of(self, pid: int) -> str | None:
        """Up from parent to parent."""
        for _ in range(len(self._strangers) + 1):
            member = self._supervisors.get(pid) or self._members.get(pid)
            if member is not None or pid not in self._strangers:
                return member
            pid = self._strangers[pid]
        return None

    def _take_in(self, pid: int, member: str) -> None:
        self._strangers.pop(pid, None)
        self._members[pid] = member
        self.of_member[member][pid] = Process(pid, member)
        if member in self._ranked and pid not in self._supervisors:
            self._unranked[pid] = LOOKS_FOR_A_RANK

    def _look_for_ranks(self) -> None:
        """A process that was only just forked still shows its parent's environment: it is looked at more than once."""
        for pid, looks in list(self._unranked.items()):
            process = self.process(pid)
            rank = NO_RANK if process is None else _rank(pid)
            if process is not None:
                process.rank = rank
            if process is None or rank != NO_RANK or looks <= 1:
                del self._unranked[pid]
            else:
                self._unranked[pid] = looks - 1

    def _forget(self, process: Process) -> None:
        process.close()
        self._members.pop(process.pid, None)
        self._unranked.pop(process.pid, None)


class OwnNetwork:
    """The traffic of a member that has a network namespace of its own; NaN for one that shares the machine's."""

    def __init__(self, pid: int) -> None:
        self._file: KeptFile | None = None
        if _namespace(pid) not in (None, _namespace(os.getpid())):
            self._file = KeptFile(f"/proc/{pid}/net/dev", limit=16384)

    def read(self) -> tuple[float, float]:
        text = b"" if self._file is None else self._file.read()
        return network_bytes(text, None) if text else (math.nan, math.nan)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def _parent(pid: int) -> int:
    """0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read(1024).rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def _rank(pid: int) -> int:
    """The ``RANK`` in its environment; what an agent runs beside its ranks has none."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            environment = b"\0" + file.read(1 << 20)
    except OSError:
        return NO_RANK
    at = environment.find(b"\0RANK=")
    value = environment[at + 6 : environment.find(b"\0", at + 6)] if at >= 0 else b""
    return int(value) if value.isdigit() else NO_RANK

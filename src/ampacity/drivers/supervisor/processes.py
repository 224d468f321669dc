"""Who is who in /proc: a process's identity, its descendants, and all that carries a member's mark."""

from __future__ import annotations

import os
import signal

from .small_files import read_bytes, read_text

MARK = "AMPACITY_MEMBER"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
KERNEL_THREAD = 0x00200000
"""``PF_KTHREAD`` of linux/sched.h, in the flags of /proc/PID/stat."""


def boot_id() -> str:
    """The kernel's name for this run of the machine."""
    return read_bytes(BOOT_ID_FILE).decode().strip()


def start_ticks(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; ``None`` when there is none or only its zombie.

    With the pid and the boot id this names a process for good: pids are used again, this triple is not.
    """
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else int(fields[19])


def parent_of(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def group_of(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[2])


def descendants(root: int) -> set[int]:
    """All processes below the root, without it and without zombies."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and fields[0] not in (b"Z", b"X"):
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    pending = [root]
    while pending:
        below = children.get(pending.pop(), [])
        pending.extend(pid for pid in below if pid not in found)
        found.update(below)
    return found


def in_session(leader: int) -> set[int]:
    """All living processes of the session. As long as there is one, its number is given to nobody else."""
    found = set()
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and fields[0] not in (b"Z", b"X") and int(fields[3]) == leader:
            found.add(pid)
    return found


def marked(member: str) -> set[int]:
    """All living processes whose environment carries the member's mark. Those of other users cannot be read."""
    return carrying(f"{MARK}={member}".encode())[0]


def carrying(entry: bytes, since: int = 0) -> tuple[set[int], set[int]]:
    """Whose environment has this entry, and of whom that cannot be told now.

    In the midst of an exec a process shows an empty environment; it counts as one who cannot be told when it began at
    ``since`` (clock ticks since boot) or later. One that was really given none stays among them.
    """
    found, unclear = set(), set()
    for pid in _pids():
        try:
            environment = read_bytes(f"/proc/{pid}/environ")
        except OSError:
            continue
        if not environment:
            if _could_be_in_exec(pid, since):
                unclear.add(pid)
        elif entry in environment and entry in environment.split(b"\0"):
            found.add(pid)
    return found, unclear


def _could_be_in_exec(pid: int, since: int) -> bool:
    """Kernel threads and zombies have no environment either, and none to come."""
    fields = _stat(pid)
    if fields is None or fields[0] in (b"Z", b"X"):
        return False
    return not int(fields[6]) & KERNEL_THREAD and int(fields[19]) >= since


def private_memory_bytes(pid: int) -> int:
    """Memory in use that is the process's own: what it shares with others (files, its parent's pages) is left out."""
    fields = read_text(f"/proc/{pid}/statm").split()
    return max(0, int(fields[1]) - int(fields[2])) * PAGE_BYTES if len(fields) > 2 else 0


def send(pids: set[int], signum: int) -> None:
    """Send the signal to each that is still there."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except (ProcessLookupError, PermissionError):
            continue


def send_to_group(group: int, signum: int) -> None:
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):
        return


def is_process(pid: int, started: int, boot: str) -> bool:
    """Whether that very process is alive."""
    return boot == boot_id() and start_ticks(pid) == started


def signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third (the state) on: the name before may hold blanks and brackets."""
    try:
        return read_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return None

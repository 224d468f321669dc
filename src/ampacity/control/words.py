"""Plain words for causes and places, used by events and by ``why``."""

from __future__ import annotations

import signal

from ampacity.model.attempt import Attempt, Cause, CauseKind
from ampacity.model.resources import WHOLE_MILLI, Allocation


def cause_words(cause: Cause | None) -> str:
    """``rank 1 was killed by SIGKILL``, ``exited with code 3``, …"""
    if cause is None:
        return "for no known reason"
    who = f"rank {cause.rank} " if cause.rank is not None else ""
    return who + _what(cause)


def _what(cause: Cause) -> str:
    match cause.kind:
        case CauseKind.COMPLETED:
            return "completed"
        case CauseKind.EXIT:
            return f"exited with code {cause.exit_code}"
        case CauseKind.SIGNAL:
            return f"was killed by {_signal_name(cause.signal)}"
        case _:
            return cause.message or _SAID.get(cause.kind, cause.kind.replace("_", " "))


_SAID = {
    CauseKind.STOPPED: "was stopped",
    CauseKind.OUT_OF_MEMORY: "ran out of memory",
    CauseKind.TIME_LIMIT: "ran into its time limit",
    CauseKind.SUPERVISOR_DIED: "its supervisor was killed",
    CauseKind.NODE_REBOOTED: "its node was restarted",
    CauseKind.DEVICE_FAILED: "its device failed",
    CauseKind.DISK_FULL: "its disk was full",
    CauseKind.DISK_QUOTA: "used more disk than it asked for",
    CauseKind.PREEMPTED: "gave its place up",
}


def _signal_name(number: int | None) -> str:
    if number is None:
        return "a signal"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def place_words(attempt: Attempt) -> str:
    """``n1 (2 CPU, 4 GB, devices 0 1)``, for each member."""
    return ", ".join(f"{member.node} ({allocation_words(member.allocation)})" for member in attempt.members)


def allocation_words(allocation: Allocation) -> str:
    parts = [f"{allocation.cpu_milli / WHOLE_MILLI:g} CPU"]
    if allocation.memory_bytes:
        parts.append(f"{allocation.memory_bytes / 1e9:g} GB")
    if allocation.devices:
        whole = sum(share.milli for share in allocation.devices) / WHOLE_MILLI
        parts.append(f"{whole:g} accelerator{'s' if whole != 1 else ''}")
    return ", ".join(parts)

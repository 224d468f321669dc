"""Finding the demo's processes by the mark that the platform puts into their environment, and killing them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    pid: int
    command: str
    environment: dict[str, str]


def marked(state_dir: str) -> Iterator[Marked]:
    """All processes of attempts that belong to this state folder."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("AMPACITY_MEMBER_DIR", "").startswith(state_dir):
                yield Marked(pid=process.pid, command=" ".join(process.cmdline()), environment=environment)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def of_state_folder(state_dir: str) -> list[str]:
    """Every process that works for the state folder: marked ones, and those that name it on their command line."""
    found = {each.pid: each.command for each in marked(state_dir)}
    for process in psutil.process_iter(["pid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if state_dir in command and process.pid != os.getpid():
            found[process.pid] = command
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    return [f"{pid} {command}" for pid, command in sorted(found.items()) if pid not in own]


def kill_rank(state_dir: str, workload: str, rank: int) -> int:
    """SIGKILL that rank; its pid. Raises ``LookupError`` when it does not run."""
    for each in marked(state_dir):
        if each.environment.get("AMPACITY_WORKLOAD") == workload and each.environment.get("RANK") == str(rank):
            os.kill(each.pid, signal.SIGKILL)
            return each.pid
    raise LookupError(f"rank {rank} of {workload} does not run")


def kill_engine(state_dir: str, attempt: str) -> int:
    """SIGKILL the server process of one replica; its pid. Raises ``LookupError`` when it does not run."""
    for each in marked(state_dir):
        if each.environment.get("AMPACITY_ATTEMPT") == attempt and "PORT" in each.environment:
            os.kill(each.pid, signal.SIGKILL)
            return each.pid
    raise LookupError(f"attempt {attempt} does not run")

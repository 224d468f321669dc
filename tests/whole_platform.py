"""A whole platform of real processes in a state folder of its own, taken down and looked over after each test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ampacity.client import Client

LIMIT_S = 60.0


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


class Platform:
    """Works a control plane through its command line, and looks at its processes from outside."""

    def __init__(self, state_dir: Path, work: Path) -> None:
        self.state_dir, self.work = state_dir, work
        self.client = Client(state_dir=state_dir)

    def ampacity(self, *arguments: str, stdin: str | None = None, limit_s: float = LIMIT_S) -> Finished:
        command = [sys.executable, "-m", "ampacity.cli", "--state", str(self.state_dir), *arguments]
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
        done = subprocess.run(
            command,
            cwd=self.work,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        return Finished(code=done.returncode, out=done.stdout, err=done.stderr)

    def json(self, *arguments: str) -> Any:
        done = self.ampacity(*arguments, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def up(self, *nodes: str) -> None:
        declared = [part for node in nodes for part in ("--node", node)]
        done = self.ampacity("up", "--port", "0", "--gateway-port", "0", *declared)
        assert done.code == 0, done.err

    def file(self, name: str, text: str) -> Path:
        path = self.work / name
        path.write_text(text)
        return path

    def marked(self, **environment: str) -> list[psutil.Process]:
        """Processes of this platform's attempts whose environment has these values."""
        found = []
        for process in psutil.process_iter():
            try:
                values = process.environ()
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            ours = values.get("AMPACITY_MEMBER_DIR", "").startswith(str(self.state_dir))
            if ours and all(values.get(name) == value for name, value in environment.items()):
                found.append(process)
        return found

    def kill(self, **environment: str) -> None:
        """SIGKILL to those ``marked``; some may end by themselves meanwhile."""
        for process in self.marked(**environment):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def supervisor_of(self, workload: str) -> psutil.Process:
        """The process that holds a job: the first above its own that is none of them."""
        marks = {process.pid for process in self.marked(AMPACITY_WORKLOAD_NAME=workload)}
        for pid in marks:
            with suppress(psutil.NoSuchProcess):  # a short-lived one that the job had started
                above = psutil.Process(pid).parent()
                while above is not None and above.pid in marks:
                    above = above.parent()
                if above is not None:
                    return above
        raise AssertionError(f"no supervisor of {workload!r}")

    def processes(self) -> list[str]:
        """All that still works for the state folder."""
        found = {process.pid: "marked" for process in self.marked()}
        for process in psutil.process_iter(["pid", "cmdline"]):
            command = " ".join(process.info["cmdline"] or [])
            if str(self.state_dir) in command and process.pid != os.getpid():
                found[process.pid] = command
        return [f"{pid}: {command}" for pid, command in found.items()]


def eventually(true: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition; fails with its name when it does not come."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.05)


@contextmanager
def platform_in(folder: Path) -> Iterator[Platform]:
    """A platform that is not started yet; at the end it is taken down, and no process of it may be left."""
    work = folder / "work"
    work.mkdir()
    found = Platform(folder / "state", work)
    try:
        yield found
    finally:
        found.ampacity("down", "--stop-workloads")
        eventually(lambda: not found.processes(), "the end of every process of the platform", limit_s=20.0)

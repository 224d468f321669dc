"""The platform that the demo works on: started, killed, started again, and taken down in a state folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ampacity.client import Client
from ampacity.model.errors import AmpacityError, NotRunning

from .processes import of_state_folder


class Platform:
    """One control plane in ``state_dir``, on free ports, worked through the command line as a user would."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.client = Client(state_dir=state_dir)

    def up(self) -> None:
        """Raises ``AmpacityError`` with the command's own words when it cannot start."""
        self._ampacity("up", "--node", "laptop:cpus=4,memory=16GB", "--port", "0", "--gateway-port", "0")

    def down(self) -> None:
        """Stop all that runs, then the control plane."""
        self._ampacity("down", "--stop-workloads")

    def kill_control_plane(self) -> int:
        """SIGKILL; the pid that it had."""
        pid = self.client.status().pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _answers(self.client), limit_s=10.0, what="the control plane's end")
        return pid

    def left_over(self, limit_s: float = 10.0) -> list[str]:
        """The processes that are still there after a moment's grace."""
        deadline = time.monotonic() + limit_s
        while (found := of_state_folder(str(self.state_dir))) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _ampacity(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "ampacity.cli", "--state", str(self.state_dir), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AmpacityError(
                f"`ampacity {' '.join(arguments)}` failed: {done.stderr.strip() or done.stdout.strip()}"
            )


def wait_until(ready: Callable[[], bool], *, limit_s: float, what: str, every_s: float = 0.05) -> None:
    """Raises ``TimeoutError`` naming what did not come."""
    deadline = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {limit_s:.0f} s")
        time.sleep(every_s)


def _answers(client: Client) -> bool:
    try:
        client.status()
    except NotRunning:
        return False
    return True

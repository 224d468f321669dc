"""The graphics cores of Apple's own processors, by ``sysctl`` and ``ioreg``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence

from .base import DeviceIdentity, ReadFailed

LIMIT_S = 10.0
MODEL = ("sysctl", "-n", "machdep.cpu.brand_string")
MEMORY = ("sysctl", "-n", "hw.memsize")
STATISTICS = ("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")

Run = Callable[[Sequence[str]], str]


def run_command(command: Sequence[str]) -> str:
    """What it prints. Raises ``ReadFailed``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ReadFailed(f"{' '.join(command)}: {error}") from error
    return done.stdout


class AppleReader:
    """One device, whose memory is the machine's: it is shared with the CPUs."""

    def __init__(self, run: Run = run_command) -> None:
        self._run = run
        self._kind, memory = run(MODEL).strip(), run(MEMORY).strip()
        if not memory.isdigit():
            raise ReadFailed(f"{' '.join(MEMORY)} says {memory!r}, which is no size")
        self._memory_bytes = int(memory)

    def devices(self) -> Sequence[DeviceIdentity]:
        if not self._kind.startswith("Apple "):
            return ()
        return (DeviceIdentity(index=0, vendor="apple", kind=self._kind, memory_bytes=self._memory_bytes),)

    def read(self, index: int) -> Mapping[str, float]:
        told = self._run(STATISTICS)
        values = {}
        busy = re.search(r'"Device Utilization %"=(\d+)', told)
        if busy is not None:
            values["utilisation_percent"] = float(busy[1])
        used = re.search(r'"In use system memory"=(\d+)', told)
        if used is not None:
            values["memory_used_bytes"] = float(used[1])
            values["memory_free_bytes"] = self._memory_bytes - float(used[1])
        return values

    def processes(self, index: int) -> Mapping[int, int]:
        return {}  # told to the owner of the process alone

    def close(self) -> None:
        return


def open_reader() -> AppleReader:
    return AppleReader()

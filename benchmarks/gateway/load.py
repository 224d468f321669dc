"""Running the load generators against a target, and what they tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from targets import Target

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """One short run. ``per_cpu_s``: requests answered for each second of the target's CPU time."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_s: float

    @property
    def per_cpu_s(self) -> float:
        return self.requests / self.cpu_s


def require_wrk() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("This benchmark needs wrk: apt-get install wrk")


def closed_loop(
    target: Target, *, size: int, kind: str, connections: int, seconds: float, seed: int, cpus: set[int], key: str
) -> Run:
    """``connections`` clients that ask again as soon as they are answered."""
    command = [
        *("taskset", "-c", ",".join(map(str, sorted(cpus)))),
        *("wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency"),
        *("-s", str(HERE / "load.lua"), f"{target.scheme}://127.0.0.1:{target.port}"),
        *("--", str(size), kind, str(seed), key),
    ]
    before = target.cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu_s = target.cpu_s() - before
    found = re.search(r"RESULT (.*)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk against {target.name}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return Run(cpu_s=cpu_s, **json.loads(found[1]))


def open_loop(
    port: int, *, rate: float, connections: int, seconds: float, seed: int, cpus: set[int], key: str
) -> dict[str, float]:
    """``rate`` requests a second whether or not they are answered."""
    command = [
        *("taskset", "-c", ",".join(map(str, sorted(cpus)))),
        *(sys.executable, str(HERE / "open_loop.py"), str(port), str(rate), str(connections), str(seconds), str(seed)),
        key,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found

"""The same questions, asked of Ampacity through its client."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from ampacity.client import Client
from ampacity.model.node import NodeCondition
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import WorkloadKind, WorkloadPhase, WorkloadSpec

NODE = "n1:cpus=64,memory=64GB"


class Ours:
    """A control plane in a folder of its own, ended on leaving."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = 0
        self.client = Client(state_dir=folder)

    def __enter__(self) -> Ours:
        self.up()
        self._finish(self._submit())
        return self

    def __exit__(self, *_: object) -> None:
        self._ampacity("down", "--stop-workloads")

    def up(self) -> None:
        self._ampacity("up", "--port", "0", "--gateway-port", "0", "--node", NODE)

    def _ampacity(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "ampacity.cli", "--state", str(self._folder), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _submit(self, run: str = "true", cpu_milli: int = 1000) -> str:
        self._names += 1
        spec = WorkloadSpec(
            name=f"t{self._names}",
            kind=WorkloadKind.TASK,
            run=run,
            resources=ResourceRequest(cpu_milli=Range.exactly(cpu_milli)),
        )
        return self.client.submit(spec).workload.id

    def _finish(self, ident: str) -> None:
        view = self.client.wait(ident, timeout_s=60)
        if view.workload.phase is not WorkloadPhase.SUCCEEDED:
            raise RuntimeError(f"{ident} {view.workload.phase}")

    def _empty(self) -> None:
        while True:
            status = self.client.status()
            if status.waiting + status.running == 0:
                return
            time.sleep(0.02)

    def submit_to_exit_ms(self, count: int) -> float:
        """Median from the submission of ``true`` until its success was recorded and told."""
        times = []
        for _ in range(count):
            began = time.perf_counter()
            self._finish(self._submit())
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)

    def submits_per_s(self, count: int) -> float:
        """One by one, each durable when answered; the node is cordoned, so that nothing runs beside it."""
        self.client.set_condition("n1", NodeCondition.CORDONED)
        began = time.perf_counter()
        for _ in range(count):
            self._submit(cpu_milli=10)
        rate = count / (time.perf_counter() - began)
        self.client.set_condition("n1", NodeCondition.READY)
        self._empty()
        return rate

    def submits_per_s_batch(self, count: int) -> float:
        """As one array in one call, durable when it is answered; the node is cordoned."""
        self.client.set_condition("n1", NodeCondition.CORDONED)
        self._names += 1
        spec = WorkloadSpec(
            name=f"array{self._names}",
            kind=WorkloadKind.TASK,
            run="true",
            resources=ResourceRequest(cpu_milli=Range.exactly(10)),
        )
        began = time.perf_counter()
        made = self.client.submit_array(spec, f"0-{count - 1}")
        rate = len(made.workloads) / (time.perf_counter() - began)
        self.client.set_condition("n1", NodeCondition.READY)
        self._empty()
        return rate

    def tasks_per_s(self, count: int) -> float:
        """From the first submission until all have ended."""
        began = time.perf_counter()
        for _ in range(count):
            self._submit()
        self._empty()
        return count / (time.perf_counter() - began)

    def recover_s(self, waiting: int, running: int) -> float:
        """From SIGKILL of the control plane until a new one knows every workload again, its start included."""
        for _ in range(running):
            self._submit("sleep 600", cpu_milli=1000)
        while self.client.status().running < running:
            time.sleep(0.05)
        for _ in range(waiting):
            self._submit("true", cpu_milli=60_000)
        os.kill(self.client.status().pid, signal.SIGKILL)
        began = time.perf_counter()
        self.up()
        while (status := self.client.status()).running != running or status.waiting != waiting:
            time.sleep(0.01)
        took = time.perf_counter() - began
        for view in list(self.client.workloads(phases=[WorkloadPhase.WAITING, WorkloadPhase.RUNNING], page=1000)):
            self.client.stop(view.workload.id)
        self._empty()
        return took

    def idle(self, seconds: float) -> tuple[float, float]:
        """CPU in per cent of a core, and resident memory in MB, of the control plane's processes together: itself, the
        collector of measurements, and the parent that supervisors are forked from. No gateway runs."""
        mine = [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(word.startswith(str(self._folder)) for word in process.info["cmdline"] or [])
        ]
        before = sum(sum(process.cpu_times()[:2]) for process in mine)
        time.sleep(seconds)
        used = sum(sum(process.cpu_times()[:2]) for process in mine) - before
        return 100 * used / seconds, sum(process.memory_info().rss for process in mine) / 1e6


def cli_help_s(count: int) -> float:
    """Median wall time of ``ampacity --help``."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ampacity.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)

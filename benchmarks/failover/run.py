"""Does a client see anything when engines, a worker, the dispatcher and the control plane die under its stream?

python benchmarks/failover/run.py [--quick] [--json FILE]
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import uvloop

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from clients import Told, stream_all
from reporting import Figures, parser

from ampacity.client import Client

ENGINES, WORKERS = 4, 2
NODE = "n1:cpus=16,memory=16GB"
LIMIT_S = 60.0

SERVICE = """
name: double
type: service
served_name: double
replicas: {replicas}
run: exec {python} {engine}
readiness: {{path: /health, interval: 1s, failures: 3}}
"""


class Platform:
    """A platform in a folder of its own: a control plane, a gateway with two workers, and engines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = Client(state_dir=folder)

    def up(self) -> None:
        ports = ("--port", "0", "--gateway-port", "0", "--gateway-workers", str(WORKERS))
        self._ampacity("up", *ports, "--node", NODE)

    def serve(self) -> None:
        engine = shlex.quote(str(HERE / "engine.py"))
        text = SERVICE.format(replicas=ENGINES, python=shlex.quote(sys.executable), engine=engine)
        self.client.submit(text)
        until(lambda: len(self.engines()) == ENGINES, "engines")
        until(lambda: len(self.workers()) == WORKERS, "workers")

    def down(self) -> None:
        self._ampacity("down", "--stop-workloads")

    def _ampacity(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "ampacity.cli", "--state", str(self.folder), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def port(self) -> int:
        return int(self.client.status().gateway_url.rpartition(":")[2])

    def control_plane(self) -> psutil.Process:
        return psutil.Process(msgspec.json.decode((self.folder / "control.json").read_bytes())["pid"])

    def engines(self) -> list[psutil.Process]:
        """Those that are in the routing table, in order of their ports."""
        table = self.folder / "gateway" / "table.json"
        if not table.exists():
            return []
        models = msgspec.json.decode(table.read_bytes())["models"]
        ports = {int(each["url"].rpartition(":")[2]) for model in models for each in model["replicas"]}
        return [process for port in sorted(ports) for process in listening(port)]

    def workers(self) -> list[psutil.Process]:
        return listening(self.port)


def listening(port: int) -> list[psutil.Process]:
    """The processes that listen there."""
    found = []
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid is not None:
            found.append(psutil.Process(each.pid))
    return found


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come up")
        time.sleep(0.1)


class Faults(threading.Thread):
    """One fault after another, ``every_s`` apart. ``own``: the clients' ports at the worker that was killed."""

    def __init__(self, platform: Platform, every_s: float) -> None:
        super().__init__(name="faults")
        self._platform, self._every_s = platform, every_s
        self._engines = platform.engines()
        self._frozen = self._engines[1]
        self._port = platform.port
        self.own: set[int] = set()
        self.trouble: BaseException | None = None

    def run(self) -> None:
        try:
            faults = (self._kill, self._freeze, self._cut_off, self._kill_worker, self._kill_dispatcher)
            for fault in (*faults, self._kill_control_plane):
                time.sleep(self._every_s)
                fault()
        except (psutil.Error, OSError) as error:
            self.trouble = error

    def _kill(self) -> None:
        self._engines[0].kill()

    def _freeze(self) -> None:
        self._frozen.suspend()

    def _cut_off(self) -> None:
        self._engines[2].send_signal(signal.SIGUSR1)

    def _kill_worker(self) -> None:
        worker = self._platform.workers()[0]
        worker.suspend()  # so that what it holds is counted as it was when it died
        for each in worker.net_connections("tcp"):
            if each.raddr and each.laddr.port == self._port:
                self.own.add(each.raddr.port)
        worker.kill()

    def _kill_dispatcher(self) -> None:
        parent = self._platform.workers()[0].parent()
        assert parent is not None, "the workers have one"
        next(each for each in parent.children() if "--dispatches" in each.cmdline()).kill()

    def _kill_control_plane(self) -> None:
        self._platform.control_plane().kill()

    def thaw(self) -> None:
        """Let go what was stopped, so that it can be ended."""
        if self._frozen.is_running():
            os.kill(self._frozen.pid, signal.SIGCONT)


def report(figures: Figures, told: list[Told], own: set[int], tokens: int) -> None:
    others = [each for each in told if each.port not in own]
    mine = [each for each in told if each.port in own]
    failed = [each for each in others if each.error]
    resumed = [each for each in others if each.resumed]
    for error in sorted({each.error for each in failed})[:5]:
        figures.note(f"an error: {error}")
    figures.add("streams", len(told))
    figures.add("client_errors", len(failed), "0")
    figures.add("worker_own_streams", len(mine))
    figures.add("worker_own_streams_lost", sum(bool(each.error) for each in mine))
    figures.add("resumed_streams", len(resumed))
    interrupted = len(resumed) + len(failed)
    figures.add("resumed_streams_percent", 100.0 * len(resumed) / max(1, interrupted), ">= 99")
    wrong = sum(each.wrong_words(tokens) for each in others if not each.error)
    figures.add("duplicated_or_missing_tokens", wrong, "0")
    pauses = sorted(each.longest_pause_s for each in resumed) or [0.0]
    figures.add("pause_p50_s", statistics.median(pauses))
    figures.add("pause_max_s", pauses[-1])


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    count, tokens, every_s = (200, 200, 1.5) if options.quick else (1000, 400, 3.0)
    figures = Figures("failover")
    with tempfile.TemporaryDirectory(prefix="failover-") as name:
        platform = Platform(Path(name))
        platform.up()
        try:
            platform.serve()
            faults = Faults(platform, every_s)
            port = platform.port
            faults.start()
            told = uvloop.run(stream_all(port, count, tokens, over_s=2.0, limit_s=120.0))
            faults.join()
            faults.thaw()
            report(figures, told, faults.own, tokens)
            if faults.trouble is not None:
                raise faults.trouble
            platform.up()  # a control plane again, over what ran on
            until(lambda: len(platform.engines()) == ENGINES, "engines after the faults")
            answer = asyncio.run(stream_all(platform.port, 1, 10, over_s=0.0, limit_s=30.0))[0]
            figures.add("well_afterwards", float(not answer.error and answer.wrong_words(10) == 0), "1")
        finally:
            platform.up()
            platform.down()
    figures.write(options.json)


if __name__ == "__main__":
    main()

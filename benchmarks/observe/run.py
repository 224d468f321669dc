"""What does watching cost, and how much of it is lost when the collector is killed?

python benchmarks/observe/run.py [--quick] [--json FILE]
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from doubled import DEVICES
from reporting import Figures, parser

from ampacity.api.server import RunningServer, serve
from ampacity.client import Client
from ampacity.control.daemon import Daemon
from ampacity.control.parts import HOST
from ampacity.control.state_folder import Settings, StateFolder
from ampacity.observe.keeper import CollectorKeeper
from ampacity.observe.lock import holder
from ampacity.observe.places import HOST_RING, LOCK, metrics_folder
from ampacity.observe.ring import RingReader

LIMIT_S = 60.0
NODE = f"n1:cpus=64,memory=64GB,H100={DEVICES}"
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")

JOB = """
name: job-{number}
run: sleep 1000 & sleep 1000 & sleep 1000
resources: {{accelerators: "H100:1"}}
"""


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    figures = Figures("observe")
    os.environ["PYTHONPATH"] = str(HERE)  # where the collector's probe finds the doubled devices
    with tempfile.TemporaryDirectory(prefix="observe-") as folder, watched(Path(folder)) as (state, server, keeper):
        figures.note(f"{DEVICES} doubled devices, {DEVICES} attempts of 5 processes each, on one node")
        with Client(state) as client:
            for number in range(DEVICES):
                client.submit(JOB.format(number=number))
            until(lambda: len(client.measurements().members) == DEVICES, "samples of all attempts")
            until(lambda: len(client.measurements().devices) == DEVICES, "samples of all devices")
        time.sleep(3.0)  # the start's own cost is over
        figures.add("collector_cpu_percent", cpu_percent(keeper, 10 if options.quick else 60), "<= 0.5")
        figures.add("collector_rss_mb", rss_mb(keeper))
        figures.add("metrics_scrape_ms", scrape_ms(state, server, 20 if options.quick else 200))
        count = 3 if options.quick else 10
        kills = [loss_after_kill_s(state, (number + 0.5) / count) for number in range(count)]
        figures.add("loss_after_kill_s", max(kills), "<= 1")
    figures.write(options.json)


@contextmanager
def watched(folder: Path) -> Iterator[tuple[Path, RunningServer, CollectorKeeper]]:
    """A control plane in this process, and its collector as a process of its own."""
    state = StateFolder(folder / "state")
    daemon = Daemon(state, Settings(nodes=(NODE,), port=0, gateway_port=0))
    server = serve(daemon.plane, socket_path=state.socket_path(), host=HOST, port=0, token_sha256=state.token_sha256())
    daemon.plane.listens(socket=server.socket_path, api_url=server.url)
    state.write_endpoint(
        pid=os.getpid(),
        started_at=time.time(),
        version="",
        socket=server.socket_path,
        api_url=server.url,
        gateway_url="",
    )
    daemon.start()
    keeper = CollectorKeeper(str(state.path), readers=("doubled:open_reader",))
    keeper.start()
    try:
        yield state.path, server, keeper
    finally:
        daemon.plane.shutdown(workloads=True)
        daemon.wait(LIMIT_S)
        keeper.close()
        server.stop()
        daemon.stop()


def cpu_percent(keeper: CollectorKeeper, seconds: int) -> float:
    """Of one core, over so many seconds: the collector and its probes."""
    pids = tree(keeper)
    before, began = sum(map(cpu_s, pids)), time.monotonic()
    time.sleep(seconds)
    used_s, lasted_s = sum(map(cpu_s, pids)) - before, time.monotonic() - began
    assert tree(keeper) == pids, "a process was replaced while it was measured"
    return 100 * used_s / lasted_s


def tree(keeper: CollectorKeeper) -> list[int]:
    assert keeper.pid is not None, "the collector runs"
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
    return [keeper.pid, *map(int, children)]


def cpu_s(pid: int) -> float:
    """From the scheduler's own clock, in nanoseconds: ticks are too coarse for so little."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * 1e-9


def rss_mb(keeper: CollectorKeeper) -> float:
    """Of all processes, shared pages by their part."""
    text = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in tree(keeper)]
    return sum(int(each.split("Pss:")[1].split()[0]) for each in text) / 1024


def scrape_ms(state: Path, server: RunningServer, times: int) -> float:
    """The median of whole requests over loopback."""
    headers = {"Authorization": f"Bearer {(state / 'token').read_text().strip()}"}
    taken = []
    with httpx.Client(headers=headers, trust_env=False) as http:
        for _ in range(times):
            began = time.perf_counter()
            text = http.get(f"{server.url}/metrics").text
            taken.append(1000 * (time.perf_counter() - began))
            assert text.count("DCGM_FI_DEV_GPU_UTIL{") == DEVICES, "all devices are told"
            assert text.count("ampacity_attempt_memory_bytes{") == DEVICES, "all attempts are told"
    return statistics.median(taken)


def loss_after_kill_s(state: Path, part: float) -> float:
    """SIGKILL at that part of a second: from the last record to the kill. Returns when another one samples."""
    folder = metrics_folder(state)
    pid = holder(f"{folder}/{LOCK}")
    assert pid is not None, "the collector holds its lock"
    time.sleep((part - time.time()) % 1.0)
    os.kill(pid, signal.SIGKILL)
    killed_at = time.time()
    before = last_at(folder)
    until(lambda: last_at(folder) > killed_at, "a sample of the next collector")
    return killed_at - before


def last_at(folder: str) -> float:
    reader = RingReader(f"{folder}/{HOST_RING}")
    try:
        newest = reader.last()
        return 0.0 if newest is None else newest[0]
    finally:
        reader.close()


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() >= deadline:
            raise SystemExit(f"{what}: not within {LIMIT_S:g} s")
        time.sleep(0.1)


if __name__ == "__main__":
    main()

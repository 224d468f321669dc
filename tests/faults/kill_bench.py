"""Killing control planes at a point, one after another, and looking at what the next one makes of it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from control_to_kill import FIRST_WAIT_S, NEXT_WAIT_S, SETTINGS, halt, hurry, run_and_die, submit_all

from ampacity.control.daemon import Daemon
from ampacity.control.state_folder import StateFolder
from ampacity.model.event import fold
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.workload import Wish, WorkloadPhase
from ampacity.store import open_store

LIMIT_S = 120.0
JOIN_S = 120.0
ENDS = {
    "once": "succeeded",
    "twice": "succeeded",
    "later": "succeeded",
    "lasting": "succeeded",
    "stopped": "cancelled",
    "halted": "cancelled",
    "yielding": "succeeded",
    "urgent": "succeeded",
    "refused": "failed",
}
NAMES = tuple(name for name in ENDS if name != "refused")

FORKS = multiprocessing.get_context("forkserver")


def eventually(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT_S:g} s"
        time.sleep(0.02)


def marked(state: Path) -> list[int]:
    """Processes that carry the mark of a member of this state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            values = process.environ()
        except psutil.Error:
            continue
        if values.get("AMPACITY_MEMBER_DIR", "").startswith(str(state)):
            found.append(process.pid)
    return found


def die(state: Path, work: Path, point: str, hit: int) -> int | None:
    """Run a control plane that is killed there. Its exit code: -9, or 0 when it did not come there so often."""
    FORKS.set_forkserver_preload(["ampacity.control.daemon", "ampacity.store.sqlite", "ampacity.drivers.local.driver"])
    wait_s = FIRST_WAIT_S if hit == 1 else NEXT_WAIT_S
    process = FORKS.Process(target=run_and_die, args=(state, work, point, hit, wait_s))
    process.start()
    process.join(JOIN_S)
    return process.exitcode


def go_on_and_check(state: Path, work: Path) -> None:
    """Another control plane takes the folder up: all comes to its end, nothing runs twice, nothing is left."""
    daemon = Daemon(StateFolder(state), SETTINGS)
    submit_all(daemon, work)
    daemon.start()
    plane = daemon.plane

    def phase(name: str) -> WorkloadPhase:
        return plane.workload(name, project=DEFAULT_PROJECT).workload.phase

    try:
        for name in ("stopped", "halted"):
            eventually(lambda name=name: (work / name).exists(), f"the start of the job that will be {name}")
        eventually((work / "yielding").exists, "the start of the job that gives its place up")
        hurry(daemon, work)
        eventually((work / "urgent").exists, "the start of the job that takes its place")
        halt(daemon)
        plane.set_desired("stopped", project=DEFAULT_PROJECT, by="test", wish=Wish.STOP)
        (work / "go").touch()
        eventually(lambda: all(phase(name).ended for name in ENDS), "the end of all jobs")
        assert {name: str(phase(name)) for name in ENDS} == ENDS
    finally:
        daemon.stop()
    starts = {name: (work / name).read_text().split() for name in NAMES}
    again = ("twice", "yielding")
    assert {name: len(lines) for name, lines in starts.items()} == {name: 1 + (name in again) for name in NAMES}
    assert all([line.rsplit(".", 1)[1] for line in starts[name]] == ["1", "2"] for name in again)
    eventually(lambda: not marked(state), "the end of every process of the jobs")
    store = open_store(str(state / "store.db"))
    try:
        assert fold(store.events(limit=100_000), store.base()) == store.rows()
    finally:
        store.close()

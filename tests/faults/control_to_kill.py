"""A control plane that kills itself at a named point. Run in a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kill_points import DriverAt, store_at

import ampacity.control.parts as parts
from ampacity.control.daemon import Daemon
from ampacity.control.jobs import Job
from ampacity.control.state_folder import Settings, StateFolder
from ampacity.drivers.base import Launch
from ampacity.model.errors import Conflict, LaunchFailed, NotFound
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import RetryPolicy, Wish, WorkloadKind, WorkloadSpec

SETTINGS = Settings(nodes=("n1:cpus=8,memory=4GB", "n2:cpus=2,memory=8GB"), gateway_port=0)
LARGE = 6 * 10**9
"""Memory that only one job at a time can have, on one of the nodes."""

NOTE = 'echo "$AMPACITY_ATTEMPT" >> "$RUNS/$AMPACITY_WORKLOAD_NAME"; '
FIRST_WAIT_S, NEXT_WAIT_S = 30.0, 1.0
"""How long a point is waited for; what is passed for a second time may not be passed again."""


def run_and_die(state: Path, work: Path, point: str, hit: int, wait_s: float) -> None:
    """Take up the state folder, and be killed when the point is passed for the given time."""
    hits = 0

    def at(passed: str) -> None:
        nonlocal hits
        hits += passed == point
        if passed == point and hits == hit:
            os.kill(os.getpid(), signal.SIGKILL)

    put_points(at)
    daemon = Daemon(StateFolder(state), SETTINGS, at=at)
    refuse_one(daemon)
    submit_all(daemon, work)
    daemon.start()
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if (work / "halted").exists():
            halt(daemon)
        hurry(daemon, work)
        time.sleep(0.02)
    os._exit(0)


def put_points(at: Callable[[str], None]) -> None:
    """Into the drivers and the store of every daemon of this process."""
    made: Any = parts
    open_driver, open_store = made.open_driver, made.open_store
    made.open_driver = lambda *args, **keys: DriverAt(open_driver(*args, **keys), at)
    made.open_store = lambda where: store_at(open_store(where), at)


def refuse_one(daemon: Daemon) -> None:
    """The job of that name cannot be launched here."""
    actor: Any = daemon.control._actor
    launch = actor._launcher.launch

    def refusing(job: Job, member: int) -> Launch:
        if job.workload.name == "refused":
            raise LaunchFailed("refused here")
        launched: Launch = launch(job, member)
        return launched

    actor._launcher.launch = refusing


def halt(daemon: Daemon) -> None:
    """Wish that the job of that name ends, unless it has."""
    with suppress(Conflict):
        daemon.plane.set_desired("halted", project=DEFAULT_PROJECT, by="test", wish=Wish.STOP)


def hurry(daemon: Daemon, work: Path) -> None:
    """Submit one of higher priority that needs the place of another, once that one has it."""
    if (work / "yielding").exists():
        submit(daemon, work, "urgent", "true", memory=LARGE, priority=100)


def submit_all(daemon: Daemon, work: Path) -> None:
    """One job of each fate, unless it is known already: it succeeds; it succeeds at the second try; it comes after; it
    lasts; it is stopped at the end; it is stopped as soon as it runs; it gives its place up to another and has it back;
    it cannot be launched, or else fails."""
    lasts, endless = 'while ! test -e "$RUNS/go"; do sleep 0.05; done', "while true; do sleep 0.05; done"
    submit(daemon, work, "once", "true")
    submit(daemon, work, "twice", "test $AMPACITY_EPOCH = 2 || exit 3", retry=RetryPolicy(maximum=1))
    submit(daemon, work, "later", "true", after=("once",))
    submit(daemon, work, "lasting", lasts)
    submit(daemon, work, "stopped", endless)
    submit(daemon, work, "halted", endless)
    submit(daemon, work, "yielding", lasts, memory=LARGE)
    submit(daemon, work, "refused", "exit 1")


def submit(daemon: Daemon, work: Path, name: str, script: str, *, memory: int = 0, **keys: Any) -> None:
    if is_known(daemon, name):
        return
    spec = WorkloadSpec(
        name=name,
        kind=WorkloadKind.TASK,
        run=NOTE + script,
        envs={"RUNS": str(work)},
        resources=ResourceRequest(cpu_milli=Range.exactly(1000), memory_bytes=Range.exactly(memory)),
        grace_s=2.0,
        **keys,
    )
    daemon.plane.submit((spec,), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER)


def is_known(daemon: Daemon, name: str) -> bool:
    try:
        daemon.plane.workload(name, project=DEFAULT_PROJECT)
    except NotFound:
        return False
    return True

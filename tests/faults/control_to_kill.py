"""A control plane that kills itself at a named point. Run in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from ampacity.control.daemon import Daemon
from ampacity.control.jobs import Job
from ampacity.control.state_folder import Settings, StateFolder
from ampacity.drivers.base import Launch
from ampacity.model.errors import LaunchFailed
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import RetryPolicy, WorkloadKind, WorkloadSpec

SETTINGS = Settings(nodes=("n1:cpus=8,memory=4GB",), gateway_port=0)
NOTE = 'echo "$AMPACITY_ATTEMPT" >> "$RUNS/$AMPACITY_WORKLOAD_NAME"; '


def run_and_die(state: Path, work: Path, point: str, hit: int) -> None:
    """Take up the state folder, and be killed when the point is passed for the given time."""
    hits = 0

    def at(passed: str) -> None:
        nonlocal hits
        hits += passed == point
        if passed == point and hits == hit:
            os.kill(os.getpid(), signal.SIGKILL)

    daemon = Daemon(StateFolder(state), SETTINGS, at=at)
    refuse_one(daemon)
    if not (state / "submitted").exists():
        submit_all(daemon, work)
        (state / "submitted").touch()
    daemon.start()
    threading.Event().wait(30.0 if hit == 1 else 1.0)  # what is not passed so often any more does not kill
    os._exit(0)


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


def submit_all(daemon: Daemon, work: Path) -> None:
    """One job of each fate: it succeeds; it succeeds at the second try; it comes after; it lasts; it is stopped; it
    cannot be launched, or else fails."""
    jobs: dict[str, dict[str, Any]] = {
        "once": {},
        "twice": {"retry": RetryPolicy(maximum=1)},
        "later": {"after": ("once",)},
        "lasting": {},
        "stopped": {},
        "refused": {},
    }
    scripts = {
        "twice": "test $AMPACITY_EPOCH = 2 || exit 3",
        "lasting": 'while ! test -e "$RUNS/go"; do sleep 0.05; done',
        "stopped": "while true; do sleep 0.05; done",
        "refused": "exit 1",
    }
    for name, keys in jobs.items():
        spec = WorkloadSpec(
            name=name,
            kind=WorkloadKind.TASK,
            run=NOTE + scripts.get(name, "true"),
            envs={"RUNS": str(work)},
            resources=ResourceRequest(cpu_milli=Range.exactly(1000)),
            grace_s=2.0,
            **keys,
        )
        daemon.plane.submit((spec,), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER)

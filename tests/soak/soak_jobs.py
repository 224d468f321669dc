"""The jobs of the soak: what is submitted, and what each would do if nobody disturbed it."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import (
    ReadinessProbe,
    RetryPolicy,
    ServiceSpec,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)

SERVER = Path(__file__).with_name("soak_server.py")

NOTE = """
who="${AMPACITY_ATTEMPT%.*}-${AMPACITY_MEMBER##*-}-${RANK:-0}"
exec 9>>"$SOAK/locks/$who"
flock -n 9 || echo "$AMPACITY_MEMBER" >> "$SOAK/overlaps"
echo "$AMPACITY_EPOCH $AMPACITY_MEMBER ${AMPACITY_INCARNATION:-0} ${RANK:-0}" >> "$SOAK/starts/$AMPACITY_WORKLOAD"
"""
"""Each process of a job says that it began, and holds a lock that its whole tree inherits: who finds the lock taken
has begun while something of an earlier attempt of the same replica was alive."""

SCRIPTS = {
    "ok": "sleep {nap}",
    "bad": "sleep {nap}; exit 3",
    "flaky": "sleep {nap}; test $AMPACITY_EPOCH -ge {tries} || exit 3",
    "forker": "setsid sleep 1000 & (trap '' TERM; exec sleep 1000) & sleep {nap}",
    "lasting": "while :; do sleep 0.2; done",
    "stubborn": "trap '' TERM; while :; do sleep 0.2; done",
    "server": "exec {python} -I -S {server}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known of a workload before it runs.

    ``tries``: after how many attempts it has come to its own ``end`` (``None``: it goes on until it is stopped).
    ``starts``: how many processes of one attempt say that they began. ``after``: the name of the one it comes after.
    """

    name: str
    shape: str
    end: WorkloadPhase | None
    tries: int
    retries: int | None
    starts: int
    after: str = ""

    @property
    def serves(self) -> bool:
        return self.shape == "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is handed in: one spec, or an array of it, and the job that each workload is."""

    spec: WorkloadSpec
    jobs: tuple[Job, ...]
    indices: str = ""


def draw(dice: random.Random, number: int, folder: Path, *, after: str = "", services: bool = True) -> Submission:
    """A submission by the dice. ``after``: a job that ends by itself, which it may come after."""
    shapes = ["task"] * 12 + ["gang"] * 4 + ["array"] * 2 + ["train"] * 1 + ["service"] * (2 if services else 0)
    shape, name = dice.choice(shapes), f"{number:04}"
    if shape == "service":
        return _service(dice, f"svc-{name}", folder)
    scripts = ["ok", "bad", "flaky", "forker"] if shape in ("array", "train") else list(SCRIPTS)[:-1]
    script = dice.choice(scripts)
    tries = dice.randint(2, 3) if script == "flaky" else 1
    retries = tries - 1 + dice.randint(0, 2) if script == "flaky" else dice.randint(0, 2)
    if script == "bad":
        tries = retries + 1
    end = {"bad": WorkloadPhase.FAILED, "lasting": None, "stubborn": None}.get(script, WorkloadPhase.SUCCEEDED)
    nodes, ranks = (2 if shape == "gang" else 1), (2 if shape == "train" else 1)
    if shape == "train" and script == "flaky":  # retries happen in place there, and the epoch stays
        script, tries, retries = "ok", 1, retries
    run = NOTE + SCRIPTS[script].format(nap=f"{dice.uniform(0.05, 1.5):.2f}", tries=tries)
    job = Job(
        name=f"{script}-{name}",
        shape=shape,
        end=end,
        tries=tries,
        retries=retries,
        starts=nodes * ranks,
        after=after if after and dice.random() < 0.3 else "",
    )
    spec = WorkloadSpec(
        name=job.name,
        kind=WorkloadKind.TRAIN if shape == "train" else WorkloadKind.TASK,
        run=run,
        envs={"SOAK": str(folder)},
        resources=_cpus(dice.choice([250, 500, 1000])),
        num_nodes=Range.exactly(nodes),
        ranks_per_node=ranks if shape == "train" else None,
        retry=RetryPolicy(maximum=retries),
        after=(job.after,) if job.after else (),
        grace_s=dice.choice([0.5, 1.0, 2.0]),
    )
    if shape != "array":
        return Submission(spec=spec, jobs=(job,))
    count = dice.randint(2, 6)
    elements = tuple(replace(job, name=f"{job.name}-{index}") for index in range(count))
    return Submission(spec=spec, jobs=elements, indices=f"0-{count - 1}")


def _service(dice: random.Random, name: str, folder: Path) -> Submission:
    script = SCRIPTS["server"].format(python=sys.executable, server=SERVER)
    spec = WorkloadSpec(
        name=name,
        kind=WorkloadKind.SERVICE,
        run=NOTE + script,
        envs={"SOAK": str(folder)},
        resources=_cpus(250),
        replicas=dice.randint(1, 2),
        retry=RetryPolicy(maximum=None),
        service=ServiceSpec(served_name=name, readiness=ReadinessProbe(interval_s=0.2)),
        grace_s=1.0,
    )
    job = Job(name=name, shape="service", end=None, tries=1, retries=None, starts=1)
    return Submission(spec=spec, jobs=(job,))


def _cpus(milli: int) -> ResourceRequest:
    return ResourceRequest(cpu_milli=Range.exactly(milli))

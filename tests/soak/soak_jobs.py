"""The jobs of the soak: what is submitted, and what each would do if nobody disturbed it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.volume import VolumeUse
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

ENDING = ("ok", "bad", "flaky", "forker")
"""Scripts that end by themselves."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is drawn of a job. ``nap_s``: how long it takes. ``more_retries``: beyond those that it needs. ``follows``:
    it comes after one that ends by itself, if there is any. ``count``: of an array."""

    shape: str
    script: str
    nap_s: float = 0.5
    tries: int = 2
    more_retries: int = 1
    cpu_milli: int = 500
    grace_s: float = 1.0
    follows: bool = False
    count: int = 1


def submission(draft: Draft, number: int, folder: Path, *, after: str = "") -> Submission:
    """What is handed in; every second one finds the soak's folder as a volume, elsewhere.

    Args:
        after: a job that ends by itself, which it may come after.
    """
    shape, script = draft.shape, draft.script
    tries = {"flaky": draft.tries, "bad": draft.more_retries + 1}.get(script, 1)
    retries = tries - 1 + (draft.more_retries if script != "bad" else 0)
    end = {"bad": WorkloadPhase.FAILED, "lasting": None, "stubborn": None}.get(script, WorkloadPhase.SUCCEEDED)
    nodes, ranks = (2 if shape == "gang" else 1), (2 if shape == "train" else 1)
    job = Job(
        name=f"{script}-{number:04}",
        shape=shape,
        end=end,
        tries=tries,
        retries=retries,
        starts=nodes * ranks,
        after=after if draft.follows else "",
    )
    mounted = VolumeUse(target=f"{folder}-mounted", folder=str(folder))
    spec = WorkloadSpec(
        name=job.name,
        kind=WorkloadKind.TRAIN if shape == "train" else WorkloadKind.TASK,
        run=NOTE + SCRIPTS[script].format(nap=f"{draft.nap_s:.2f}", tries=tries),
        envs={"SOAK": mounted.target if number % 2 else str(folder)},
        volumes=(mounted,) if number % 2 else (),
        resources=_cpus(draft.cpu_milli),
        num_nodes=Range.exactly(nodes),
        ranks_per_node=ranks if shape == "train" else None,
        retry=RetryPolicy(maximum=retries),
        after=(job.after,) if job.after else (),
        grace_s=draft.grace_s,
    )
    if shape != "array":
        return Submission(spec=spec, jobs=(job,))
    elements = tuple(replace(job, name=f"{job.name}-{index}") for index in range(draft.count))
    return Submission(spec=spec, jobs=elements, indices=f"0-{draft.count - 1}")


def service(number: int, folder: Path, *, replicas: int) -> Submission:
    name = f"svc-{number:04}"
    spec = WorkloadSpec(
        name=name,
        kind=WorkloadKind.SERVICE,
        run=NOTE + SCRIPTS["server"].format(python=sys.executable, server=SERVER),
        envs={"SOAK": str(folder)},
        resources=_cpus(250),
        replicas=replicas,
        retry=RetryPolicy(maximum=None),
        service=ServiceSpec(served_name=name, readiness=ReadinessProbe(interval_s=0.2)),
        grace_s=1.0,
    )
    job = Job(name=name, shape="service", end=None, tries=1, retries=None, starts=1)
    return Submission(spec=spec, jobs=(job,))


def _cpus(milli: int) -> ResourceRequest:
    return ResourceRequest(cpu_milli=Range.exactly(milli))

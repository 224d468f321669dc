"""How long does a plan take on a large cluster, and how does that grow?

python benchmarks/scale/run.py [--quick] [--growth] [--json FILE] [--seed N]
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import cluster
from cluster import NODES, Scale
from reporting import Figures, log_as_the_daemon_does, parser

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member, StopOrder
from ampacity.model.event import Draft, Event, EventKind, Row, put
from ampacity.model.ids import AttemptId, attempt_id
from ampacity.model.plan import Placement, Plan, Start
from ampacity.model.policy import POLICY_KEY, PlacementName, SchedulerPolicy
from ampacity.model.workload import Replica, ReplicaPhase, Workload, WorkloadPhase
from ampacity.scheduler import State, build, plan

NOW = 1_800_000_000.0
GOALS = {
    "full_plan_s": "< 1",
    "incremental_plan_p50_ms": "< 20",
    "incremental_plan_p99_ms": "< 100",
    "peak_rss_gb": "< 2",
}
"""For a cluster of 12,500 nodes."""
SETTLING = 3
"""So many plans follow the full one, with nothing new, before single changes are timed."""
FACTORS = (0.08, 0.4, 1.0, 2.0, 4.0, 8.0)
"""Of the cluster that the goals are for: 1,000 to 100,000 nodes."""
SEEN = ("full_plan_s", "incremental_plan_p50_ms", "incremental_plan_p99_ms", "peak_rss_gb")
"""What the picture shows."""


class Loop:
    """What the control loop does with a state, without a store: events in, plans out, starts written down."""

    def __init__(self, state: State, now: float) -> None:
        self.state, self.now = state, now

    def apply(self, kind: EventKind, *rows: Row) -> None:
        draft = Draft(kind=kind, at=self.now, changes=tuple(put(row) for row in rows))
        self.state.apply(Event(seq=self.state.seq + 1, draft=draft))

    def commit(self, made: Plan) -> None:
        for stop in made.stops:
            self._tell(stop.attempt, stop.reason, ())
        for resize in made.resizes:
            self._tell(resize.attempt, resize.reason, resize.placements)
        for start in made.starts:
            self.apply(EventKind.ATTEMPT_PLACED, *self._placed(start))
        for promise in made.promises:
            replica = self.state.live[promise.workload].replicas[promise.replica]
            if replica.then != promise.placements:
                kept = replace(replica, then=promise.placements, version=replica.version + 1)
                self.apply(EventKind.REPLICA_CHANGED, kept)

    def _tell(self, id: AttemptId, reason: str, then: tuple[Placement, ...]) -> None:
        attempt = self.state.attempts[id]
        order = StopOrder(
            reason=reason,
            by="scheduler",
            grace_s=10.0,
            at=self.now,
            cause=Cause(kind=CauseKind.PREEMPTED, message=reason),
            then=then,
        )
        told = replace(attempt, phase=AttemptPhase.STOPPING, stop=order, version=attempt.version + 1)
        self.apply(EventKind.ATTEMPT_STOPPING, told)

    def leave(self) -> None:
        """Those who were told to give their places up have."""
        for id in list(self.state.runners.leaving):
            attempt = self.state.attempts[id]
            replica = self.state.live[attempt.workload].replicas[attempt.replica]
            then = () if attempt.stop is None else attempt.stop.then
            waits = replace(
                replica,
                phase=ReplicaPhase.WAITING,
                then=then,
                preempted=replica.preempted + 1,
                version=replica.version + 1,
            )
            ended = replace(attempt, phase=AttemptPhase.CANCELLED, ended_at=self.now, version=attempt.version + 1)
            self.apply(EventKind.ATTEMPT_ENDED, ended, waits)

    def end(self, attempt: Attempt) -> None:
        held = self.state.live[attempt.workload]
        rows: list[Row] = [
            replace(attempt, phase=AttemptPhase.SUCCEEDED, ended_at=self.now, version=attempt.version + 1),
            replace(held.replicas[0], phase=ReplicaPhase.SUCCEEDED, version=held.replicas[0].version + 1),
            replace(held.workload, phase=WorkloadPhase.SUCCEEDED, ended_at=self.now, version=held.workload.version + 1),
        ]
        self.apply(EventKind.WORKLOAD_ENDED, *rows)

    def _placed(self, start: Start) -> tuple[Row, Row, Row]:
        held = self.state.live[start.workload]
        replica: Replica = held.replicas[start.replica]
        workload: Workload = held.workload
        epoch = replica.epoch + 1
        attempt = Attempt(
            id=attempt_id(start.workload, start.replica, epoch),
            workload=start.workload,
            replica=start.replica,
            epoch=epoch,
            spec_revision=1,
            members=tuple(
                Member(index=index, node=place.node, allocation=place.allocation)
                for index, place in enumerate(start.placements)
            ),
            phase=AttemptPhase.RUNNING,
            placed_at=self.now,
            started_at=self.now,
        )
        return (
            attempt,
            replace(replica, phase=ReplicaPhase.ACTIVE, epoch=epoch, version=replica.version + 1),
            replace(workload, phase=WorkloadPhase.RUNNING, version=workload.version + 1),
        )


def timed(scale: Scale, seed: int, changes: int, placement: PlacementName) -> dict[str, float]:
    """Seconds of a full plan and of building the state, milliseconds of plans after one arrival or one end, GB."""
    random_ = random.Random(seed)
    rows = cluster.cluster(scale, random_, NOW)
    if placement is not PlacementName.BEST_FIT:
        rows.policies[POLICY_KEY] = SchedulerPolicy(placement=placement)
    began = time.perf_counter()
    state = build(rows)
    built_s = time.perf_counter() - began
    del rows
    gc.collect()
    gc.freeze()  # as the daemon does once it has loaded its state
    loop = Loop(state, NOW)
    began = time.perf_counter()
    made = plan(state, NOW)
    full_s = time.perf_counter() - began
    starts = len(made.starts)
    loop.commit(made)
    for _ in range(SETTLING):
        loop.commit(plan(state, NOW))
    took_ms = sorted(_incremental(loop, random_, changes))
    return {
        "full_plan_s": full_s,
        "full_plan_starts": starts,
        "build_s": built_s,
        "incremental_plan_p50_ms": took_ms[len(took_ms) // 2],
        "incremental_plan_p99_ms": took_ms[int(len(took_ms) * 0.99)],
        "incremental_plan_max_ms": took_ms[-1],
        "peak_rss_gb": peak_rss_gb(),
    }


def peak_rss_gb() -> float:
    """Of this process alone: what getrusage says begins with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024 / 1e9


def _incremental(loop: Loop, random_: random.Random, changes: int, prefix: str = "x") -> Iterator[float]:
    """Milliseconds to take in one event and plan, arrivals and ends in turn. Writing the starts down is not in it."""
    ends = sorted(loop.state.attempts)
    random_.shuffle(ends)
    arriving = cluster.sizes(changes, random_)
    for index in range(changes):
        loop.now += random_.expovariate(1.0)
        arrival = cluster.workload(f"{prefix}{index:06}", arriving[index], loop.now, random_)
        loop.leave()
        attempt = next(live for id in iter(ends.pop, None) if (live := loop.state.attempts.get(id)) is not None)
        began = time.perf_counter()
        if index % 2:
            loop.apply(EventKind.WORKLOAD_SUBMITTED, *arrival)
        else:
            loop.end(attempt)
        made = plan(loop.state, loop.now)
        yield 1000 * (time.perf_counter() - began)
        loop.commit(made)


def growth(options: argparse.Namespace, figures: Figures) -> None:
    """Each size in a process of its own; the picture lies beside the results."""
    found: list[tuple[int, dict[str, float]]] = []
    for factor in FACTORS:
        scale = Scale().times(factor)
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "figures.json"
            command = [sys.executable, __file__, "--nodes", str(scale.nodes), "--seed", str(options.seed)]
            subprocess.run([*command, "--changes", "40", "--json", str(told)], check=True, stdout=subprocess.DEVNULL)
            found.append((scale.nodes, json.loads(told.read_text())["figures"]))
        for name in SEEN:
            figures.add(f"{name}_at_{scale.nodes}", found[-1][1][name])
    draw(found, HERE / "results" / "growth.png")


def draw(found: list[tuple[int, dict[str, float]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(SEEN), figsize=(16, 4), layout="constrained")
    for axis, name in zip(axes, SEEN, strict=True):
        axis.loglog([nodes for nodes, _ in found], [values[name] for _, values in found], marker="o", label="measured")
        limit = float(GOALS[name].split()[-1])
        axis.loglog([NODES], [limit], marker="v", color="tab:red", linestyle="", label=f"goal: {GOALS[name]}")
        axis.set(title=name, xlabel="nodes (8 accelerators each; work grows with them)")
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--nodes", type=int, default=NODES, help="workloads grow with them")
    options.add_argument("--changes", type=int, default=0, help="how many arrivals and ends")
    options.add_argument("--placement", type=PlacementName, default=PlacementName.BEST_FIT, help="such as least_waste")
    options.add_argument("--growth", action="store_true", help="also 1,000 to 100,000 nodes, and a picture")
    chosen = options.parse_args()
    figures = Figures("scale")
    scale = Scale().times(chosen.nodes / NODES)
    figures.note(f"{scale.nodes} nodes, {scale.running} workloads run, {scale.waiting} wait")
    figures.note(f"placement: {chosen.placement}; seed {chosen.seed}; logging on")
    changes = chosen.changes or (100 if chosen.quick else 400)
    with tempfile.TemporaryDirectory() as folder:
        log_as_the_daemon_does(Path(folder))
        for name, value in timed(scale, chosen.seed, changes, chosen.placement).items():
            figures.add(name, value, GOALS.get(name, ""))
    if chosen.growth:
        growth(chosen, figures)
    figures.write(chosen.json)


if __name__ == "__main__":
    main()

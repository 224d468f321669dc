"""How fair and how quick is a day of mixed load, under three ways to schedule it?

python benchmarks/queueing/run.py [--quick] [--seed N] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from day import BEGIN, DAY, TEAMS, Day, accelerator_s, accelerators
from reporting import Figures, log_as_the_daemon_does, parser

from ampacity.simulator import JobOutcome, Result, Simulation
from ampacity.simulator.measures import by_class, jain_index, percentile, utilisation, waits_s

QUEUES = "queues:\n" + "".join(f"  {team}: {{quota: {{H100: QUOTA}}}}\n" for team in TEAMS)

FIFO = "sharing: single_line, order: fifo, backfill: {policy: none}, preemption: {enabled: false}"
SLURM_LIKE = "sharing: single_line, order: multifactor, backfill: {policy: easy}, preemption: {enabled: false}"

POLICIES = {"fifo": f"scheduler: {{{FIFO}}}\n", "slurm_like": f"scheduler: {{{SLURM_LIKE}}}\n", "ours": ""}
"""What each adds to the same queues; ours is what stands there when nothing is said."""

SIZES = (("share_and_1", 1), ("2_to_8", 8), ("9_to_32", 32), ("over_32", 1 << 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One day under one policy, as figures by their names."""

    result: Result
    figures: dict[str, float]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--load", type=float, default=1.0, help="what is asked for, as a part of what there is")
    options.add_argument("--nodes", type=int, default=16)
    options.add_argument("--days", type=int, default=4, help="so many days, with one seed after the other")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the first day there (PNG; needs matplotlib)")
    chosen = options.parse_args()
    nodes, count = (8, 1) if chosen.quick else (chosen.nodes, chosen.days)
    days = [Day(nodes=nodes, load=chosen.load, seed=chosen.seed + number) for number in range(count)]
    figures = Figures("queueing")
    jobs = sum(len(day.jobs()) for day in days)
    figures.note(f"{nodes} nodes of 8; {count} days from seed {chosen.seed} on; {jobs} jobs; load {chosen.load:g}")
    first: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        log_as_the_daemon_does(Path(folder))
        figures.note("logging on")
        compare(figures, days, first)
    figures.write(chosen.json)
    if chosen.plot is not None:
        from pictures import draw

        draw(first, chosen.plot)


def compare(figures: Figures, days: list[Day], first: dict[str, Result]) -> None:
    """Each setting lives through all days; ``first``: what the first of them was like."""
    for name, settings in POLICIES.items():
        print(name, flush=True)
        told = [live_through(day, settings) for day in days]
        first[name] = told[0].result
        for figure in told[0].figures:
            figures.add(f"{name}_{figure}", fmean(each.figures[figure] for each in told if figure in each.figures))


def live_through(day: Day, settings: str) -> Told:
    """The day, and as long after it as it takes for all to have ended, two days at most."""
    began = time.process_time()
    quota = str(day.nodes * 8 // len(TEAMS))
    with tempfile.TemporaryDirectory(prefix="queueing-") as folder:
        simulation = Simulation(
            Path(folder), day.machines(), day.jobs(), queue_file=QUEUES.replace("QUOTA", quota) + settings
        )
        result = simulation.run(BEGIN + 3 * DAY)
    return Told(result=result, figures={**_told(result), "cpu_s": time.process_time() - began})


def _told(result: Result) -> dict[str, float]:
    outcomes = [outcome for outcome in result.outcomes if not outcome.refused]
    end = BEGIN + DAY
    busy = BEGIN + DAY / 2
    figures = {
        "utilisation_percent": 100 * utilisation(result, BEGIN, end),
        "utilisation_percent_pm": 100 * utilisation(result, busy, end),
    }
    for size, some in by_class(outcomes, size_of).items():
        waits = waits_s(some, result.ended_at)
        figures[f"wait_p50_min_{size}"] = percentile(waits, 50) / 60
        figures[f"wait_p95_min_{size}"] = percentile(waits, 95) / 60
    figures["wait_mean_min"] = sum(waits_s(outcomes, result.ended_at)) / len(outcomes) / 60
    figures["slowdown_p95"] = percentile(sorted(map(slowdown, outcomes)), 95)
    figures["jain_index"] = jain_index(list(satisfaction(result, outcomes).values()))
    figures["preemptions"] = float(sum(outcome.interruptions for outcome in outcomes))
    figures["lost_accelerator_h"] = sum(outcome.lost_s * accelerators(outcome.job) for outcome in outcomes) / 3600
    figures["not_ended"] = float(sum(outcome.ended_at is None for outcome in outcomes))
    figures["steps"] = float(result.steps)
    return figures


def size_of(outcome: JobOutcome) -> str:
    return next(name for name, most in SIZES if accelerators(outcome.job) <= most)


def slowdown(outcome: JobOutcome) -> float:
    """From submission to end over the running time, at least ten minutes: the bounded slowdown of Feitelson."""
    job = outcome.job
    if job.work_s is None or outcome.ended_at is None:
        return 1.0
    return max(1.0, (outcome.ended_at - job.at) / max(job.work_s, 600.0))


def satisfaction(result: Result, outcomes: list[JobOutcome]) -> dict[str, float]:
    """By team: what it had in the day, of what was due to it: what it asked for, but for what is more than its share
    of the cluster where the others ask for theirs (max-min fair)."""
    teams = by_class(outcomes, lambda outcome: str(outcome.job.spec.queue))
    asked = {team: sum(accelerator_s(each.job) for each in some) for team, some in teams.items()}
    had = {
        team: sum(run.accelerator_s(BEGIN, BEGIN + DAY) for each in some for run in each.runs)
        for team, some in teams.items()
    }
    due = max_min(asked, result.accelerators * DAY)
    return {team: min(1.0, had[team] / due[team]) for team in teams}


def max_min(asked: dict[str, float], there: float) -> dict[str, float]:
    """Everyone gets what it asks for, or as much as anybody else."""
    due: dict[str, float] = {}
    left = dict(sorted(asked.items(), key=lambda item: item[1]))
    while left:
        team, wants = next(iter(left.items()))
        due[team] = min(wants, there / len(left))
        there -= due[team]
        del left[team]
    return due


if __name__ == "__main__":
    main()

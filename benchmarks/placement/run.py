"""Which placement policy leaves the least of a cluster's accelerators idle?

python benchmarks/placement/run.py [--traces default,cpu250] [--quick] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import experiment
from reporting import Figures, log_as_the_daemon_does, parser
from traces import LOADS, load, names, published

from ampacity.scheduler.placing import PolicyName, make

PUBLISHED = {
    PolicyName.FGD: "FGD",
    PolicyName.BEST_FIT: "BestFit",
    PolicyName.DOT_PRODUCT: "DotProd",
    PolicyName.GPU_CLUSTERING: "GpuClustering",
    PolicyName.GPU_PACKING: "GpuPacking",
}
"""What the published policies are called there. Each of their runs is repeated and has to come out the same."""

BEST = PolicyName.LEAST_WASTE
ALL = (PolicyName.RANDOM, *reversed(PUBLISHED), BEST)
QUICK_TRACES = ("default", "gpuspec33")
QUICK_SEEDS = 1

Runs = dict[tuple[str, PolicyName, int], NDArray[np.float64]]
"""Allocation by load, by trace, policy and seed."""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--traces", help="names with commas between them, all their seeds; else those of the folder")
    options.add_argument("--policies", help="names with commas between them; fgd and least_waste always run")
    options.add_argument(
        "--work", type=Path, metavar="FOLDER", help="keep each trace's runs there, and go on from them"
    )
    chosen = options.parse_args()
    policies = chosen_policies(chosen.policies)
    folder = chosen.data / "fgd"
    known = names(folder)
    few = chosen.quick and not chosen.traces
    traces = chosen.traces.split(",") if chosen.traces else known
    if few:
        traces = [name for name in QUICK_TRACES if name in known] or known[: len(QUICK_TRACES)]
    if unknown := sorted(set(traces) - set(known)):
        raise SystemExit(f"--traces: {', '.join(unknown)} not in {folder}: it has {', '.join(known) or 'no traces'}")
    if not traces:
        raise SystemExit(
            f"--data: {folder} has no traces (arrivals_*.npz); benchmarks/placement/README.md says which files it takes"
        )
    figures = Figures("placement")
    before = published(folder)
    runs: Runs = {}
    with tempfile.TemporaryDirectory() as own:
        log_as_the_daemon_does(Path(own))
        figures.note("logging on")
        for name in traces:
            kept = None if chosen.work is None else chosen.work / f"{name}.npz"
            cpu_s = recall(runs, name, kept)
            if cpu_s is None:
                began = time.process_time()
                trace = load(folder, name)
                for seed in list(trace.arrivals)[: QUICK_SEEDS if few else None]:
                    for policy in policies:
                        made = make(policy, mix=trace.mix, seed=1000 * chosen.seed + seed)
                        runs[name, policy, seed] = experiment.run(folder, trace, seed, made)
                cpu_s = time.process_time() - began
                keep(runs, name, kept, cpu_s)
            tell(figures, runs, name, len({seed for of, _, seed in runs if of == name}), cpu_s)
    compare(figures, runs, before, traces)
    figures.write(chosen.json)


def keep(runs: Runs, trace: str, path: Path | None, cpu_s: float) -> None:
    """Write a trace's runs down, so that a run of all traces may be made in pieces."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        of = {f"{policy.value} {seed}": values for (name, policy, seed), values in runs.items() if name == trace}
        np.savez(path, cpu_s=np.array(cpu_s), **of)


def recall(runs: Runs, trace: str, path: Path | None) -> float | None:
    """What was kept of a trace; the CPU time that it took, or ``None`` where nothing was."""
    if path is None or not path.exists():
        return None
    with np.load(path) as kept:
        for key in set(kept.files) - {"cpu_s"}:
            policy, seed = key.split()
            runs[trace, PolicyName(policy), int(seed)] = kept[key]
        return float(kept["cpu_s"])


def chosen_policies(names: str | None) -> list[PolicyName]:
    if names is None:
        return list(ALL)
    if unknown := sorted(set(names.split(",")) - {policy.value for policy in ALL}):
        raise SystemExit(f"--policies: {', '.join(unknown)}: there are {', '.join(ALL)}")
    return [policy for policy in ALL if policy in (PolicyName.FGD, BEST) or policy.value in names.split(",")]


def tell(figures: Figures, runs: Runs, trace: str, seeds: int, cpu_s: float) -> None:
    """One line a trace: allocation at 100 and 130% of each policy."""
    parts = []
    for policy in sorted({by for of, by, _ in runs if of == trace}, key=ALL.index):
        at = {load: mean(runs, policy, load, trace) for load in (100, 130)}
        parts.append(f"{policy} {at[100]:.2f}/{at[130]:.2f}")
    figures.note(f"{trace}: {', '.join(parts)}; {seeds} seeds, {cpu_s:.0f} s of CPU")


def compare(
    figures: Figures,
    runs: Runs,
    before: dict[tuple[str, str, int], NDArray[np.float64]],
    traces: list[str],
) -> None:
    checked = mismatched = 0
    for (trace, policy, seed), values in runs.items():
        known = before.get((trace, PUBLISHED.get(policy, ""), seed))
        if known is not None:
            checked += LOADS
            mismatched += int((np.round(values, 2) != np.round(known, 2)).sum())
    figures.add("fgd_points_checked", checked)
    figures.add("fgd_mismatched_points", mismatched, "= 0")
    idle = {
        policy: 100 - float(np.mean([mean(runs, policy, 130, trace) for trace in traces]))
        for policy in (BEST, PolicyName.FGD)
    }
    figures.add("unallocated_percent", idle[BEST])
    figures.add("fgd_unallocated_percent", idle[PolicyName.FGD])
    figures.add("unallocated_cut_percent", 100 * (1 - idle[BEST] / idle[PolicyName.FGD]), ">= 15, aim 20")
    figures.add("cut_spread_percent", spread(runs, traces))
    figures.add("worst_trace_points", min(gains(runs, traces, 130)), ">= 0")
    figures.add("mean_at_100_points", float(np.mean(gains(runs, traces, 100))), ">= 0")
    figures.add("worst_at_100_points", min(gains(runs, traces, 100)), ">= -0.5")


def mean(runs: Runs, policy: PolicyName, load: int, trace: str) -> float:
    """Over the seeds."""
    return float(np.mean([values[load] for (of, by, _), values in runs.items() if (of, by) == (trace, policy)]))


def spread(runs: Runs, traces: list[str]) -> float:
    """The standard deviation of the cut over the seeds that all traces have; 0 with one."""
    seeds = set.intersection(*({seed for of, _, seed in runs if of == trace} for trace in traces))
    idle = {
        policy: np.array([[100 - runs[trace, policy, seed][130] for trace in traces] for seed in sorted(seeds)])
        for policy in (BEST, PolicyName.FGD)
    }
    cuts = 100 * (1 - idle[BEST].mean(axis=1) / idle[PolicyName.FGD].mean(axis=1))
    return float(cuts.std(ddof=1)) if len(cuts) > 1 else 0.0


def gains(runs: Runs, traces: list[str], load: int) -> list[float]:
    """By trace: points of allocation above FGD."""
    return [mean(runs, BEST, load, trace) - mean(runs, PolicyName.FGD, load, trace) for trace in traces]


if __name__ == "__main__":
    main()

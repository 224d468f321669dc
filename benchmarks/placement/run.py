"""Which placement policy leaves the least of a cluster's accelerators idle?

python benchmarks/placement/run.py [--traces default,cpu250] [--quick] [--json FILE]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import experiment
from reporting import Figures, parser
from traces import LOADS, SEEDS, load, names, published

from ampacity.scheduler.placing import Mix, PlacementPolicy, PolicyName, make

PUBLISHED = {
    PolicyName.FGD: "FGD",
    PolicyName.BEST_FIT: "BestFit",
    PolicyName.DOT_PRODUCT: "DotProd",
    PolicyName.GPU_CLUSTERING: "GpuClustering",
    PolicyName.GPU_PACKING: "GpuPacking",
}
"""What the published policies are called there. Each of their runs is repeated and has to come out the same."""

BEST = PolicyName.LEAST_WASTE
QUICK_TRACES = ("default", "gpuspec33")

Runs = dict[tuple[str, PolicyName, int], NDArray[np.float64]]
"""Allocation by load, by trace, policy and seed."""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--traces", help="names with commas between them; those of the folder")
    chosen = options.parse_args()
    folder = chosen.data / "fgd"
    known = names(folder)
    traces = chosen.traces.split(",") if chosen.traces else list(QUICK_TRACES) if chosen.quick else known
    if unknown := sorted(set(traces) - set(known)):
        raise SystemExit(f"--traces: {', '.join(unknown)} not in {folder}: it has {', '.join(known) or 'no traces'}")
    seeds = list(SEEDS)[:2] if chosen.quick else list(SEEDS)
    figures = Figures("placement")
    figures.note(f"{len(traces)} traces, {len(seeds)} seeds: {', '.join(traces)}")
    before = published(folder)
    runs: Runs = {}
    for name in traces:
        began = time.process_time()
        trace = load(folder, name)
        for seed in seeds:
            for policy in (*PUBLISHED, PolicyName.RANDOM, BEST):
                made = policy_of(policy, trace.mix, 1000 * chosen.seed + seed)
                runs[name, policy, seed] = experiment.run(folder, trace, seed, made)
        tell(figures, runs, name, seeds, time.process_time() - began)
    compare(figures, runs, before, traces, seeds)
    figures.write(chosen.json)


def policy_of(name: PolicyName, mix: Mix, seed: int) -> PlacementPolicy:
    return make(name, mix=mix, seed=seed)


def tell(figures: Figures, runs: Runs, trace: str, seeds: list[int], cpu_s: float) -> None:
    """One line a trace: allocation at 100 and 130% of each policy."""
    parts = []
    for policy in (PolicyName.RANDOM, *reversed(PUBLISHED), BEST):
        at = {load: mean(runs, [trace], policy, seeds, load) for load in (100, 130)}
        parts.append(f"{policy} {at[100]:.2f}/{at[130]:.2f}")
    figures.note(f"{trace}: {', '.join(parts)}; {cpu_s:.0f} s of CPU")


def compare(
    figures: Figures,
    runs: Runs,
    before: dict[tuple[str, str, int], NDArray[np.float64]],
    traces: list[str],
    seeds: list[int],
) -> None:
    checked = mismatched = 0
    for (trace, policy, seed), values in runs.items():
        known = before.get((trace, PUBLISHED.get(policy, ""), seed))
        if known is not None:
            checked += LOADS
            mismatched += int((np.round(values, 2) != np.round(known, 2)).sum())
    figures.add("fgd_points_checked", checked)
    figures.add("fgd_mismatched_points", mismatched, "= 0")
    idle = {policy: 100 - mean(runs, traces, policy, seeds, 130) for policy in (BEST, PolicyName.FGD)}
    figures.add("unallocated_percent", idle[BEST])
    figures.add("fgd_unallocated_percent", idle[PolicyName.FGD])
    figures.add("unallocated_cut_percent", 100 * (1 - idle[BEST] / idle[PolicyName.FGD]), ">= 15, aim 20")
    figures.add("worst_trace_points", min(gains(runs, traces, seeds, 130)), ">= 0")
    figures.add("mean_at_100_points", float(np.mean(gains(runs, traces, seeds, 100))), ">= 0")
    figures.add("worst_at_100_points", min(gains(runs, traces, seeds, 100)), ">= -0.5")


def mean(runs: Runs, traces: list[str], policy: PolicyName, seeds: list[int], load: int) -> float:
    return float(np.mean([runs[trace, policy, seed][load] for trace in traces for seed in seeds]))


def gains(runs: Runs, traces: list[str], seeds: list[int], load: int) -> list[float]:
    """By trace: points of allocation above FGD."""
    return [mean(runs, [each], BEST, seeds, load) - mean(runs, [each], PolicyName.FGD, seeds, load) for each in traces]


if __name__ == "__main__":
    main()

"""How quickly work is taken, started and told of, beside Slurm on the same machine in the same run.

python benchmarks/launch/run.py [--quick] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from history import costs
from ours import Ours, cli_help_s
from reporting import Figures, parser
from slurm import Slurm


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    figures = Figures("launch")
    small = options.quick
    with tempfile.TemporaryDirectory(prefix="launch-") as folder:
        print("Ampacity", flush=True)
        ours = measure_ours(figures, Path(folder) / "ours", small=small)
        measure_history(figures, Path(folder) / "history", small=small)
        if small:
            figures.note("without Slurm: --quick")
        else:
            print("Slurm", flush=True)
            measure_slurm(figures, Path(folder) / "slurm", *ours)
    figures.write(options.json)


def measure_ours(figures: Figures, folder: Path, *, small: bool) -> tuple[float, float, int]:
    count = 200 if small else 1000
    with Ours(folder) as ours:
        latency = ours.submit_to_exit_ms(20 if small else 100)
        figures.add("submit_to_exit_p50_ms", latency, "< 30")
        figures.add("submits_per_s_single", ours.submits_per_s(200 if small else 1000), ">= 500")
        figures.add("submits_per_s_batch", ours.submits_per_s_batch(200 if small else 1000), ">= 5000")
        rate = ours.tasks_per_s(count)
        figures.add("tasks_per_s", rate)
        figures.add("cli_help_s", cli_help_s(5 if small else 15), "< 0.2")
        figures.add("recover_s", ours.recover_s(waiting=200 if small else 1000, running=10 if small else 50), "< 2")
        cpu, memory = ours.idle(5 if small else 20)
        figures.add("idle_cpu_percent", cpu, "< 1")
        figures.add("idle_rss_mb", memory, "< 150")
    return latency, rate, count


def measure_history(figures: Figures, folder: Path, *, small: bool) -> None:
    """Empty and filled in turns, twice each, so that a busy moment of the machine does not decide."""
    count, finished = (50, 20_000) if small else (200, 1_000_000)
    folder.mkdir()
    filled = [costs(folder / f"filled{turn}", finished, count) for turn in range(1 if small else 2)]
    empty = [costs(folder / f"empty{turn}", 0, count) for turn in range(2)]
    step_empty, step_filled = min(each.step for each in empty), min(each.step for each in filled)
    figures.add("step_ms_empty", step_empty)
    figures.add("step_ms_after_1m", step_filled)
    figures.add("history_slowdown", step_filled / step_empty, "< 1.5")
    figures.add("list_ms_after_1m", min(each.listing for each in filled))
    figures.add("open_ms_after_1m", min(each.opening for each in filled))
    if small:
        figures.note(f"history of {finished:,} instead of 1,000,000: --quick")


def measure_slurm(figures: Figures, folder: Path, latency: float, rate: float, count: int) -> None:
    with Slurm(folder) as slurm:
        srun = slurm.srun_ms(50)
        figures.add("slurm_srun_p50_ms", srun)
        figures.add("submit_to_exit_vs_srun", latency / srun, "< 0.6")
        theirs = slurm.tasks_per_s(count)
        figures.add("slurm_tasks_per_s", theirs)
        figures.add("tasks_per_s_vs_slurm", rate / theirs, "> 2")


if __name__ == "__main__":
    main()

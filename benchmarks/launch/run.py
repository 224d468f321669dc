"""How quickly work is taken, started and told of, beside Slurm on the same machine in the same run.

python benchmarks/launch/run.py [--quick] [--parts launch,history] [--json FILE]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from math import nan
from pathlib import Path
from statistics import median

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from history import costs
from ours import Ours, cli_help_s
from reporting import Figures, parser
from slurm import Slurm

PARTS = ("launch", "history")
ROUNDS = 5


def main() -> None:
    flags = parser(__doc__ or "")
    flags.add_argument("--parts", default=",".join(PARTS), help="which of: launch, history (as a list with commas)")
    options = flags.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        flags.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    figures = Figures("launch")
    small = options.quick
    with tempfile.TemporaryDirectory(prefix="launch-") as folder, ExitStack() as stack:
        if "launch" in parts:
            ours = stack.enter_context(Ours(Path(folder) / "ours"))
            slurm = None if small else stack.enter_context(Slurm(Path(folder) / "slurm"))
            if slurm is None:
                figures.note("without Slurm: --quick")
            measure_latency(figures, ours, slurm)
            measure_rates(figures, ours, slurm, small=small)
            measure_ours(figures, ours, small=small)
        if "history" in parts:
            measure_history(figures, Path(folder) / "history", small=small)
    figures.write(options.json)


def measure_latency(figures: Figures, ours: Ours, slurm: Slurm | None) -> None:
    """In turns, so that a busy moment of the machine meets both."""
    rounds = [(ours.submit_to_exit_ms(20), slurm.srun_ms(10) if slurm else nan) for _ in range(ROUNDS if slurm else 1)]
    figures.add("submit_to_exit_p50_ms", median(own for own, _ in rounds), "< 30")
    if slurm is not None:
        figures.add("slurm_srun_p50_ms", median(theirs for _, theirs in rounds))
        figures.add("submit_to_exit_vs_srun", median(own / theirs for own, theirs in rounds), "< 0.6")


def measure_rates(figures: Figures, ours: Ours, slurm: Slurm | None, *, small: bool) -> None:
    count = 200 if small else 1000
    rounds = [(ours.tasks_per_s(count), slurm.tasks_per_s(count) if slurm else nan) for _ in range(2 if slurm else 1)]
    figures.add("tasks_per_s", max(own for own, _ in rounds))
    if slurm is not None:
        figures.add("slurm_tasks_per_s", max(theirs for _, theirs in rounds))
        figures.add("tasks_per_s_vs_slurm", median(own / theirs for own, theirs in rounds), "> 2")


def measure_ours(figures: Figures, ours: Ours, *, small: bool) -> None:
    figures.add("submits_per_s_single", ours.submits_per_s(200 if small else 1000), ">= 500")
    figures.add("submits_per_s_batch", ours.submits_per_s_batch(200 if small else 1000), ">= 5000")
    figures.add("cli_help_s", cli_help_s(5 if small else 15), "< 0.2")
    figures.add("recover_s", ours.recover_s(waiting=200 if small else 1000, running=10 if small else 50), "< 2")
    cpu, memory = ours.idle(5 if small else 20)
    figures.add("idle_cpu_percent", cpu, "< 1")
    figures.add("idle_rss_mb", memory, "< 150")
    figures.add("fsync_ms", fsync_ms(Path(tempfile.gettempdir())))


def fsync_ms(folder: Path) -> float:
    """What the disk takes for one small durable write now: the median of 100."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(100):
            began = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
    return median(times)


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


if __name__ == "__main__":
    main()

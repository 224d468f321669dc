"""The days as pictures: who held the accelerators over the day, and how long jobs waited by their size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from day import BEGIN, DAY, TEAMS

from ampacity.simulator import Result
from ampacity.simulator.measures import by_class, percentile, waits_s

COLOURS = ("#2b5fd9", "#e0862f", "#189a5b", "#9a4fc4")
NAMES = {"fifo": "first in, first out", "slurm_like": "multifactor and EASY backfill", "ours": "Ampacity"}
EVERY_S = 300.0


def draw(days: Mapping[str, Result], path: Path) -> None:
    """Write a PNG. Needs matplotlib, which the extra ``bench`` brings."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 3.0 * len(days)), constrained_layout=True)
    axes = figure.subplots(len(days), 2, width_ratios=(3, 2), squeeze=False)
    for (name, result), (held, waits) in zip(days.items(), axes, strict=True):
        _draw_held(held, result, NAMES[name])
        _draw_waits(waits, result)
    axes[0][0].legend(loc="lower center", ncols=len(TEAMS), frameon=False, bbox_to_anchor=(0.5, 1.12))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_held(axis: Any, result: Result, title: str) -> None:
    times = np.arange(0.0, 1.5 * DAY, EVERY_S)
    layers = [held_by(result, team, times) for team in TEAMS]
    axis.stackplot(times / 3600, layers, labels=list(TEAMS), colors=COLOURS, linewidth=0)
    axis.axhline(result.accelerators, color="#444", linewidth=0.8)
    axis.axvline(24, color="#444", linewidth=0.8, linestyle=":")
    axis.set(
        title=title, xlabel="hours", ylabel="accelerators held", xlim=(0, 36), ylim=(0, result.accelerators * 1.05)
    )
    axis.spines[["top", "right"]].set_visible(False)


def held_by(result: Result, team: str, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How many accelerators a team held at each time (seconds after the day's begin)."""
    held = np.zeros(len(times))
    for outcome in result.outcomes:
        if str(outcome.job.spec.queue) != team:
            continue
        for run in outcome.runs:
            first, last = np.searchsorted(times, (run.started_at - BEGIN, run.ended_at - BEGIN))
            held[first:last] += run.accelerators
    return held


def _draw_waits(axis: Any, result: Result) -> None:
    from run import SIZES, size_of

    classes = by_class([each for each in result.outcomes if not each.refused], size_of)
    labels = [name for name, _ in SIZES if name in classes]
    waits = [waits_s(classes[name], result.ended_at) for name in labels]
    places = np.arange(len(labels))
    for shift, (percent, colour) in enumerate(((50, "#9db8f2"), (95, "#2b5fd9"))):
        minutes = [percentile(each, percent) / 60 for each in waits]
        bars = axis.barh(places + 0.36 * (0.5 - shift), minutes, 0.34, color=colour, label=f"p{percent}")
        axis.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
    axis.set(
        title="minutes until the first start", yticks=places, yticklabels=[label.replace("_", " ") for label in labels]
    )
    axis.margins(x=0.12)
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)

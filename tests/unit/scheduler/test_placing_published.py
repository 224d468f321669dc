"""One run of the published experiment, against what its artifact gives, and ours beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ampacity.scheduler.placing import PolicyName, make

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("AMPACITY_DATA", ROOT.parent / "shared" / "data")) / "fgd"
SEED = 42

PUBLISHED = {
    PolicyName.FGD: "FGD",
    PolicyName.BEST_FIT: "BestFit",
    PolicyName.DOT_PRODUCT: "DotProd",
    PolicyName.GPU_CLUSTERING: "GpuClustering",
    PolicyName.GPU_PACKING: "GpuPacking",
}


@pytest.fixture(scope="module")
def bench() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The benchmark's own modules: the experiment, and what it reads."""
    if not FOLDER.is_dir():
        pytest.skip(f"no data of the experiment: {FOLDER} is not there (AMPACITY_DATA names the folder above it)")
    sys.path.insert(0, str(ROOT / "benchmarks" / "placement"))
    import experiment
    import traces

    yield experiment, traces
    sys.path.pop(0)
    for name in ("experiment", "traces"):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("trace", "names"), [("gpushare100", [PolicyName.FGD]), ("multigpu50", list(PUBLISHED))], ids=["sums", "gangs"]
)
def test_equals_what_was_published_at_every_load(
    bench: tuple[ModuleType, ModuleType], trace: str, names: list[PolicyName]
) -> None:
    """The trace in which the order of FGD's sums shows, and the one with the most gangs."""
    experiment, traces = bench
    loaded, known = traces.load(FOLDER, trace), traces.published(FOLDER)
    for name in names:
        values = experiment.run(FOLDER, loaded, SEED, make(name, mix=loaded.mix))
        assert (np.round(values, 2) == known[trace, PUBLISHED[name], SEED]).all(), name


def test_least_waste_leaves_less_idle_than_the_best_of_them(bench: tuple[ModuleType, ModuleType]) -> None:
    experiment, traces = bench
    loaded, known = traces.load(FOLDER, "gpuspec33"), traces.published(FOLDER)
    values = experiment.run(FOLDER, loaded, SEED, make(PolicyName.LEAST_WASTE, mix=loaded.mix))
    fgd = known["gpuspec33", "FGD", SEED]
    assert values[100] > fgd[100] + 2
    assert 100 - values[130] < 0.85 * (100 - fgd[130])

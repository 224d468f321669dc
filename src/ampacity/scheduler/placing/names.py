"""Placement policies by name."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from . import rules
from .base import Mix, PlacementPolicy
from .fgd import Fgd
from .least_waste import LeastWaste
from .simple import BestFit, GpuClustering, Random, Simple


class PolicyName(StrEnum):
    LEAST_WASTE = "least_waste"
    FGD = "fgd"
    BEST_FIT = "best_fit"
    DOT_PRODUCT = "dot_product"
    GPU_CLUSTERING = "gpu_clustering"
    GPU_PACKING = "gpu_packing"
    SPREAD = "spread"
    RANDOM = "random"


def make(name: PolicyName, *, mix: Mix = (), seed: int = 0, compiled: bool | None = None) -> PlacementPolicy:
    """The policy of that name.

    Args:
        mix: the demand to expect; it matters to ``least_waste`` and ``fgd`` only.
        seed: for ``random``.
        compiled: whether its kernels are compiled; ``None`` = where Numba is installed. The answers are the same.
    """
    match name:
        case PolicyName.LEAST_WASTE:
            return LeastWaste(mix, compiled=compiled)
        case PolicyName.FGD:
            return Fgd(mix, compiled=compiled)
        case PolicyName.BEST_FIT:
            return BestFit(compiled=compiled)
        case PolicyName.DOT_PRODUCT:
            return Simple(name, rules.DOT_PRODUCT, compiled=compiled)
        case PolicyName.GPU_CLUSTERING:
            return GpuClustering(compiled=compiled)
        case PolicyName.GPU_PACKING:
            return Simple(name, rules.GPU_PACKING, compiled=compiled)
        case PolicyName.SPREAD:
            return Simple(name, rules.SPREAD, compiled=compiled)
        case PolicyName.RANDOM:
            return Random(seed, compiled=compiled)
        case _:
            assert_never(name)

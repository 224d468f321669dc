"""The numbers by which kernels know the simple rules, and constants that both kinds of kernels share."""

from __future__ import annotations

from typing import Final

BEST_FIT: Final = 0
DOT_PRODUCT: Final = 1
GPU_CLUSTERING: Final = 2
GPU_PACKING: Final = 3
SPREAD: Final = 4

LEVEL_MILLI: Final = 10
"""The step in which expected waste tells apart how much of a device is left."""
LEVELS: Final = 100

"""Orders that need to know nothing but the workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .base import Circumstances

if TYPE_CHECKING:
    from ampacity.scheduler.order import Want


@dataclass(frozen=True, slots=True)
class Fifo:
    """The oldest first."""

    learns: bool = False
    is_fair: bool = False

    def standing(self, want: Want) -> tuple[float, float]:
        return 0.0, 0.0

    def pull(self, want: Want, seen: Circumstances) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class ByPriority:
    """The highest priority first, among these the oldest. One of low priority can wait for ever."""

    learns: bool = False
    is_fair: bool = False

    def standing(self, want: Want) -> tuple[float, float]:
        return float(want.spec.priority), 0.0

    def pull(self, want: Want, seen: Circumstances) -> float:
        return 0.0

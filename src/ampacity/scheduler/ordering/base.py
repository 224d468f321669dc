"""What an order is asked: how a replica stands while it waits, and what others and time add to that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ampacity.model.history import RuntimeHistory

if TYPE_CHECKING:
    from ampacity.scheduler.order import Want


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What counts at the moment, for all of one group.

    Attributes:
        fairness: from 1 for an owner that has used nothing down to 0; one half for one that has used its share.
        history: of jobs of this kind, where there are any.
        expected_s: how long it will run; how that is known does not matter here.
    """

    now: float
    fairness: float
    history: RuntimeHistory | None
    expected_s: float


class Order(Protocol):
    """Same replica, same answer. The higher goes first; the older where two are equal."""

    @property
    def learns(self) -> bool:
        """Whether ``pull`` looks at ``history``."""
        ...

    @property
    def is_fair(self) -> bool:
        """Whether ``pull`` looks at ``fairness``."""
        ...

    def standing(self, want: Want) -> tuple[float, float]:
        """What does not change while it waits: its class, which counts before all else, and points within it."""
        ...

    def pull(self, want: Want, seen: Circumstances) -> float:
        """Points on top of these; the same for all of a group."""
        ...

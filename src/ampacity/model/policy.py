"""How the scheduler decides: the names of its policies and their parameters. One row, changed as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .preemption import DEFAULT_PREEMPTION, PreemptionPolicy

PRIORITY_CLASS = 100
"""How far apart the named priorities are."""

PRIORITIES = {"low": -PRIORITY_CLASS, "normal": 0, "high": PRIORITY_CLASS}


class Sharing(StrEnum):
    """How the next queue is chosen. ``dominant_share``: the one whose largest share of any resource is the smallest,
    level by level; ``single_line``: none is, all wait in one line."""

    DOMINANT_SHARE = "dominant_share"
    SINGLE_LINE = "single_line"


class OrderName(StrEnum):
    """The order within a queue."""

    FIFO = "fifo"
    PRIORITY = "priority"
    MULTIFACTOR = "multifactor"
    FAIR = "fair"
    SHORTEST_REMAINING = "shortest_remaining"
    GITTINS = "gittins"
    LEAST_ATTAINED = "least_attained"


class BackfillName(StrEnum):
    """Who has places held for it: ``none``, the first that finds no room (``easy``), or the first ``depth`` of them
    (``conservative``)."""

    NONE = "none"
    EASY = "easy"
    CONSERVATIVE = "conservative"


class PlacementName(StrEnum):
    """How nodes are chosen among those that fit. ``best_fit``: what is left with the least accelerators, then CPU;
    ``spread``: what has the most; ``least_waste`` and the others: see docs/scheduling.md."""

    BEST_FIT = "best_fit"
    LEAST_WASTE = "least_waste"
    FGD = "fgd"
    DOT_PRODUCT = "dot_product"
    GPU_PACKING = "gpu_packing"
    SPREAD = "spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPolicy:
    """``tests``: so many that find no room are looked at in one plan. ``assumed_runtime_s``: how long what runs is
    taken to last where there is neither a limit nor anything learned."""

    name: BackfillName = BackfillName.CONSERVATIVE
    depth: int = 4
    tests: int = 1000
    assumed_runtime_s: float = 86_400.0

    @property
    def reservations(self) -> int:
        """How many may have places held for them at a time."""
        match self.name:
            case BackfillName.NONE:
                return 0
            case BackfillName.EASY:
                return 1
            case BackfillName.CONSERVATIVE:
                return self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """What counts in the order ``fair``, in points of priority: the named priorities are 100 apart.

    Attributes:
        ageing_s: the wait that is worth one class of priority.
        fair_share: for an owner that has used nothing; half of it for one that has used its share.
        deadline: from the moment on when it has to start to be done in time.
        deadline_margin_s: so much before that moment.
        critical_path: for each hour of work that waits for it.
    """

    ageing_s: float = 86_400.0
    fair_share: float = 50.0
    deadline: float = 200.0
    deadline_margin_s: float = 600.0
    critical_path: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Multifactor:
    """The weights of the order ``multifactor``, after Slurm's priority plug-in of that name
    (https://slurm.schedmd.com/priority_multifactor.html); but age goes on counting after ``max_age_s``."""

    age: float = 1000.0
    fair_share: float = 2000.0
    size: float = 500.0
    priority: float = 1000.0
    max_age_s: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerPolicy:
    """All settings of the scheduler.

    Attributes:
        half_life_s: after so long, what somebody has used counts half.
        usage_weights: what a second of one whole accelerator (by its kind, or ``accelerators`` for all that are not
            named) and of one CPU (``cpus``) is worth. What costs the most counts, as with Slurm's ``MAX_TRES``.
    """

    sharing: Sharing = Sharing.DOMINANT_SHARE
    order: OrderName = OrderName.FAIR
    points: Points = field(default_factory=Points)
    multifactor: Multifactor = field(default_factory=Multifactor)
    backfill: BackfillPolicy = field(default_factory=BackfillPolicy)
    placement: PlacementName = PlacementName.BEST_FIT
    preemption: PreemptionPolicy = DEFAULT_PREEMPTION
    half_life_s: float = 7 * 86_400.0
    usage_weights: Mapping[str, float] = field(default_factory=lambda: {"accelerators": 1.0, "cpus": 1 / 16})
    version: int = 1


DEFAULT_POLICY = SchedulerPolicy()

POLICY_KEY = "scheduler"
"""The key of the one row."""

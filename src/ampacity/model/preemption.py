"""Settings of preemption, elasticity and defragmentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PreemptionPolicy:
    """When a place is taken from what runs.

    Attributes:
        enabled: ``False``: nothing is stopped for anything else; gangs are not made smaller either.
        floor_s: whoever had to leave a place keeps the next one for so long.
        restart_s: what an interruption costs beside the work that it loses.
        grow: elastic gangs get more nodes when nothing waits for room.
        grow_after_s: a gang has run for so long before it is interrupted to grow.
        defragment: jobs are moved to make a larger room whole.
        defragment_gain: the wait that a move spares, in device seconds, is at least so many times what it costs.
    """

    enabled: bool = True
    floor_s: float = 600.0
    restart_s: float = 30.0
    grow: bool = True
    grow_after_s: float = 300.0
    defragment: bool = False
    defragment_gain: float = 4.0


DEFAULT_PREEMPTION = PreemptionPolicy()

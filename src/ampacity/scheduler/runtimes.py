"""How long a replica will run: its limit, or what jobs of its kind took."""

from __future__ import annotations

from collections.abc import Mapping

from ampacity.model.history import RuntimeHistory
from ampacity.model.lasting import Basis, Lasting
from ampacity.model.workload import WorkloadKind

ENOUGH = 5
"""So many ended jobs make an experience."""

RELIED_ON = 0.95
"""The part of the runs that end within what is learned of them."""


def lasting(
    kind: WorkloadKind, limit_s: float | None, runtimes: Mapping[str, RuntimeHistory], key: str, assumed_s: float
) -> Lasting:
    """What is surest: its limit, else what is learned of its kind, else what is assumed.

    Args:
        limit_s: after which it is stopped.
        runtimes: by kind of job; ``key`` is its own.
        assumed_s: where nothing is known.
    """
    if limit_s is not None:
        return Lasting(basis=Basis.LIMIT, seconds=limit_s)
    if kind is WorkloadKind.SERVICE:
        return Lasting(basis=Basis.ENDLESS)
    history = runtimes.get(key)
    if history is not None and history.count >= ENOUGH:
        return Lasting(basis=Basis.LEARNED, seconds=history.quantile_s(RELIED_ON))
    return Lasting(basis=Basis.ASSUMED, seconds=assumed_s)

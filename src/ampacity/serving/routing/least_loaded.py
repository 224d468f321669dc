"""Least loaded: the replica with the fewest requests in flight; of equals the one that has served fewest."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ampacity.serving.table import ModelRoute, ReplicaRoute

from .base import Load

_IDLE = Load()


class LeastLoaded:
    """Fulfils :class:`ampacity.serving.routing.base.Router`."""

    def choose(
        self, route: ModelRoute, loads: Mapping[str, Load], *, now: float, exclude: Collection[str]
    ) -> ReplicaRoute | None:
        best: ReplicaRoute | None = None
        least: tuple[bool, int, int] | None = None
        for replica in route.replicas:
            if replica.id in exclude:
                continue
            load = loads.get(replica.id, _IDLE)
            rank = (load.aside_until > now, load.in_flight, load.served)
            if least is None or rank < least:
                best, least = replica, rank
        return best


def set_aside(load: Load, now: float) -> None:
    """A replica failed: leave it alone for a time that doubles with each failure in a row, 0.25 s to 8 s."""
    load.failures += 1
    load.aside_until = now + min(8.0, 0.125 * 2.0**load.failures)


def restore(load: Load) -> None:
    """It answered: all is forgiven."""
    load.failures, load.aside_until = 0, 0.0

"""The Protocol of a routing policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from ampacity.serving.table import ModelRoute, ReplicaRoute


@dataclass(slots=True)
class Load:
    """What the gateway knows of one replica. ``aside_until``: it failed; leave it alone until then (seconds)."""

    in_flight: int = 0
    served: int = 0
    failures: int = 0
    aside_until: float = 0.0


class Router(Protocol):
    def choose(
        self, route: ModelRoute, loads: Mapping[str, Load], *, now: float, exclude: Collection[str]
    ) -> ReplicaRoute | None:
        """The replica for the next request, or ``None``. Those in ``exclude`` (by id) have been tried already.

        One that is set aside is chosen only when all others are as well. ``now`` in seconds of any steady clock.
        """
        ...

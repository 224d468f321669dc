"""The engines behind the gateway: followed from the table, probed, and given their share by their health."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import monotonic

from ampacity.serving.routing.base import Engine as Member
from ampacity.serving.routing.base import EngineId
from ampacity.serving.table import ModelRoute, RoutingTable

from .engines import Engine
from .probes import Probe
from .wheel import Wheel

log = logging.getLogger(__name__)


class Fleet:
    """``changed`` is called when engines came, went, or have another share; ``silent`` for each that answers no probes
    any more."""

    def __init__(self, wheel: Wheel, changed: Callable[[], None], silent: Callable[[EngineId], None]) -> None:
        self.engines: dict[EngineId, Engine] = {}
        self._wheel, self._changed, self._silent = wheel, changed, silent
        self._probes: dict[EngineId, Probe] = {}
        self._shares: dict[EngineId, float] = {}

    def follow(self, table: RoutingTable) -> None:
        """These are the engines from now on."""
        named = {EngineId(each.id): (each, route) for route in table.models for each in route.replicas}
        for gone in self.engines.keys() - named.keys():
            self._remove(gone)
        for id, (replica, route) in named.items():
            standing = self.engines.get(id)
            if standing is not None and standing.url != replica.url:
                self._remove(id)
                standing = None
            if standing is None:
                engine = self.engines[id] = Engine(replica)
                self._probes[id] = Probe(engine, route.health_path, self._wheel, self.look)
                self._probes[id].begin()
        self._shares = self._measured(monotonic())
        self._changed()

    def _remove(self, id: EngineId) -> None:
        self.engines.pop(id).close()
        self._probes.pop(id).stop()

    def members(self, route: ModelRoute) -> Iterable[Member]:
        """A model's engines with their share, for its router: all of them when none is well."""
        found = [EngineId(replica.id) for replica in route.replicas]
        well = [(id, share) for id in found if (share := self._shares.get(id, 0.0)) > 0.0]
        chosen = well or [(id, 1.0) for id in found]
        return [Member(id=id, weight=share, concurrency=route.concurrency) for id, share in chosen]

    def pick(self, route: ModelRoute, excluded: frozenset[EngineId]) -> Engine | None:
        """Of a model's engines that are well the one with the fewest requests of this process."""
        found = [
            engine
            for replica in route.replicas
            if replica.id not in excluded
            and (engine := self.engines.get(EngineId(replica.id))) is not None
            and self._shares.get(engine.id, 0.0) > 0.0
        ]
        return min(found, key=lambda engine: engine.in_flight, default=None)

    def has_other(self, route: ModelRoute, excluded: frozenset[EngineId]) -> bool:
        """Whether a model has an engine beside these that is well."""
        return any(
            replica.id not in excluded and self._shares.get(EngineId(replica.id), 0.0) > 0.0
            for replica in route.replicas
        )

    def note_loss(self, id: EngineId, why: str) -> None:
        """A request's connection to it broke: close the kept ones, and ask how it is."""
        engine = self.engines.get(id)
        if engine is not None:  # it may have left the table meanwhile
            log.warning("replica %s at %s: %s", id, engine.url, why)
            engine.close()
            self._probes[id].soon()

    def look(self) -> None:
        """Give each engine its share by its health."""
        before, self._shares = self._shares, self._measured(monotonic())
        if self._shares != before:
            for id, share in self._shares.items():
                if share == 0.0 and before.get(id) != 0.0:
                    log.warning("replica %s at %s is left out for now", id, self.engines[id].url)
            self._changed()
        for id, engine in self.engines.items():
            if engine.health.silent and before.get(id) != 0.0:
                self._silent(id)

    def _measured(self, now: float) -> dict[EngineId, float]:
        return {id: engine.health.share(now) for id, engine in self.engines.items()}

    def close(self) -> None:
        for id in list(self.engines):
            self._remove(id)

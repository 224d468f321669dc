"""Part 1 of a step: read what drivers and probes saw."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ampacity.drivers.base import Driver
from ampacity.model.attempt import MemberFact
from ampacity.model.errors import DriverError
from ampacity.model.ids import NodeId
from ampacity.model.node import Node

log = logging.getLogger(__name__)

PAGES = 10
"""How many pages of one driver's facts a step takes in at most; the rest is left to the next."""


class FactSource(Protocol):
    """Something beside the drivers that sees facts, and sees them again after a restart: the readiness prober."""

    def facts(self) -> tuple[MemberFact, ...]: ...

    def on_wake(self, wake: Callable[[], None]) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class Observation:
    """``nodes`` holds what each driver that answered has; nothing is concluded of one that did not. ``placing``: those
    drivers whose pools place by themselves. ``more``: there are facts that were not read yet."""

    facts: list[MemberFact] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, dict[NodeId, Node]] = field(default_factory=dict)
    placing: set[str] = field(default_factory=set)
    more: bool = False


def observe(drivers: Mapping[str, Driver], cursors: Mapping[str, str], *, nodes: bool) -> Observation:
    """New facts of every driver, and the nodes when they are asked for."""
    seen = Observation()
    for name, driver in drivers.items():
        try:
            _read_facts(name, driver, cursors.get(name), seen)
            if nodes:
                seen.nodes[name] = {node.id: node for node in driver.nodes()}
                if driver.capabilities().places_itself:
                    seen.placing.add(name)
        except DriverError as error:
            log.warning("driver %s does not answer: %s", name, error)
    return seen


def _read_facts(name: str, driver: Driver, cursor: str | None, seen: Observation) -> None:
    for _ in range(PAGES):
        page = driver.facts(cursor)
        seen.facts.extend(page.facts)
        if page.cursor == cursor:
            return
        seen.cursors[name] = cursor = page.cursor
    seen.more = True

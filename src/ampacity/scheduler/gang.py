"""What a replica needs to start, as far as its room depends on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ampacity.model.ids import Project
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.rules import NO_RULES, PlacementRules

Name = tuple[Project, str]
"""A workload's name in its project: what rules about neighbours speak of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """Members of one replica, one a node.

    Attributes:
        size: how many members it may have.
        name: given only where a rule about neighbours concerns it: its own, or that of another.
    """

    resources: ResourceRequest
    size: Range
    rules: PlacementRules = NO_RULES
    name: Name | None = None

    @property
    def shape(self) -> Gang:
        """Gangs of one shape find room together or not at all: how far they would grow makes no difference."""
        return replace(self, size=Range.exactly(self.size.minimum))

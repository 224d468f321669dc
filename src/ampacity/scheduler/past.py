"""How nodes were when a board was made, for who reads on while the fleet changes: only what changed since is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ampacity.model.ids import AttemptId, NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation

if TYPE_CHECKING:
    from .fleet import Fleet

Hold = tuple[AttemptId, int]
"""An attempt and the index of its member, below 0 for what is promised to its successor: who holds an allocation."""

Holds = dict[Hold, Allocation]


@dataclass(frozen=True, slots=True)
class Was:
    """A node that is known, its row, and who holds what there (never changed: replaced)."""

    node: Node | None
    row: int
    held: Holds


@dataclass(slots=True)
class Past:
    """The fleet as of one moment. Moments are linked forwards alone, so that those nobody reads any more are freed.

    A reader in another thread looks at the fleet first and at what was kept second: the fleet keeps first and changes
    second.
    """

    fleet: Fleet
    kept: dict[NodeId, Was] = field(default_factory=dict)
    then: Past | None = None

    def at(self, id: NodeId) -> Was:
        found = self.fleet.now(id)
        moment: Past | None = self
        while moment is not None:
            if id in moment.kept:
                return moment.kept[id]
            moment = moment.then
        return found

    def ids(self) -> list[NodeId]:
        """The nodes that were known, sorted."""
        found = set(self.fleet.row_of.copy())
        moment: Past | None = self
        while moment is not None:
            found.update(moment.kept.copy())
            moment = moment.then
        return sorted(id for id in found if self.at(id).node is not None)

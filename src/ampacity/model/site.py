"""What is true of all nodes together: the named trees that they stand in, power feeds, licences, and storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .ids import NodeId
from .node import Node, TopologyPath
from .volume import Volume

SITE_KEY = "site"
"""The key of the one row."""

USUAL_LEVELS: Mapping[str, tuple[str, ...]] = {
    "site": ("site", "room", "rack"),
    "fabric": ("spine", "leaf"),
    "link_domain": ("domain",),
    "rail": ("rail",),
}
"""The levels of a tree that no file describes, from the root down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One row, changed as a whole.

    Attributes:
        levels: by tree, the names of its levels from the root down.
        places: by tree, where each node stands; that wins over what the node itself says.
        feeds: watts that each feed can give.
        feed_of: what a node draws its power from; that wins over what the node itself says.
        licences: how many there are of each.
        storage: volumes by their names.
    """

    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[str, Mapping[NodeId, TopologyPath]] = field(default_factory=dict)
    feeds: Mapping[str, int] = field(default_factory=dict)
    feed_of: Mapping[NodeId, str] = field(default_factory=dict)
    licences: Mapping[str, int] = field(default_factory=dict)
    storage: Mapping[str, Volume] = field(default_factory=dict)
    version: int = 1

    def place(self, node: Node, tree: str) -> TopologyPath:
        """Where a node stands in a tree; empty = nowhere."""
        placed = self.places.get(tree, {}).get(node.id)
        return node.trees.get(tree, ()) if placed is None else placed

    def feed(self, node: Node) -> str:
        return self.feed_of.get(node.id, node.feed)

    def levels_of(self, tree: str) -> tuple[str, ...]:
        """The levels of a tree, from the root down; empty = no such tree is known."""
        return tuple(self.levels.get(tree, USUAL_LEVELS.get(tree, ())))


EMPTY_SITE = Site()

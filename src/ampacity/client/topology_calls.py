"""The client's calls about topology, and about labels and taints of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ampacity.model.site import Site
from ampacity.model.view import NodeView, TopologyChanges

from .calls import Calls, path_of


class TopologyCalls(Calls):
    """Trees of places, power feeds and licences, changed as a whole; and what nodes are marked with."""

    def topology(self) -> Site:
        """The trees with the nodes in them, the feeds and the licences."""
        return self._link.call("GET", "/topology", Site)

    def apply_topology(
        self, what: str | Path, *, dry_run: bool = False, name: str = "topology.yaml"
    ) -> TopologyChanges:
        """Make them what a topology file says: all of it, or nothing.

        Args:
            what: the file (a ``Path``), or its text, which ``name`` stands for in messages.
            dry_run: change nothing, and say what would change.

        Raises:
            InvalidSpec: something is wrong in it, with file, line and key.
        """
        return self._apply("/topology", TopologyChanges, what, dry_run=dry_run, name=name)

    def mark_node(
        self, node: str, *, labels: Mapping[str, str | None] = {}, taints: Mapping[str, str | None] = {}
    ) -> NodeView:
        """Give a node labels and taints (a taint's value may be empty), or with ``None`` take them off."""
        body = {"labels": dict(labels), "taints": dict(taints)}
        return self._link.call("POST", path_of("nodes", node, "marks"), NodeView, body=body)

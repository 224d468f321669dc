"""The client's calls about topology."""

from __future__ import annotations

from pathlib import Path

from ampacity.model.site import Site
from ampacity.model.view import TopologyChanges

from .calls import Calls


class TopologyCalls(Calls):
    """Trees of places, power feeds and licences, changed as a whole."""

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

"""The client's calls about routes."""

from __future__ import annotations

from pathlib import Path

from ampacity.model.view import RouteChanges, RoutesView

from .calls import Calls


class RouteCalls(Calls):
    """Public names and the models behind them: how they stand, and changing them as a whole."""

    def routes(self) -> RoutesView:
        """The routes, and how many replicas of each model are ready."""
        return self._link.call("GET", "/routes", RoutesView)

    def apply_routes(self, what: str | Path, *, dry_run: bool = False, name: str = "routes.yaml") -> RouteChanges:
        """Make the routes what a route file says: all of them, or nothing.

        Args:
            what: the file (a ``Path``), or its text, which ``name`` stands for in messages.
            dry_run: change nothing, and say what would change.

        Raises:
            InvalidSpec: something is wrong in it, with file, line and key.
        """
        return self._apply("/routes", RouteChanges, what, dry_run=dry_run, name=name)

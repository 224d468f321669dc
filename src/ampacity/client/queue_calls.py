"""The client's calls about queues."""

from __future__ import annotations

from pathlib import Path

from ampacity.model.view import QueueChanges, QueueTreeView

from .calls import Calls


class QueueCalls(Calls):
    """Queues: how they stand, and changing them as a whole."""

    def queues(self) -> QueueTreeView:
        """The queues, the parts of each behind it, and the scheduler's settings."""
        return self._link.call("GET", "/queues", QueueTreeView)

    def apply_queues(self, what: str | Path, *, dry_run: bool = False, name: str = "queues.yaml") -> QueueChanges:
        """Make the queue tree and the settings what a queue file says: all of it, or nothing.

        Args:
            what: the file (a ``Path``), or its text, which ``name`` stands for in messages.
            dry_run: change nothing, and say what would change and move.

        Raises:
            InvalidSpec: something is wrong in it, with file, line and key.
        """
        return self._apply("/queues", QueueChanges, what, dry_run=dry_run, name=name)

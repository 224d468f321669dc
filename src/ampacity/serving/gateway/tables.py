"""The routing table as the gateway has it: read again when its file changed, the last good one kept."""

from __future__ import annotations

import asyncio
import logging
from difflib import get_close_matches
from pathlib import Path

from ampacity.serving.admission import Doorkeeper
from ampacity.serving.table import ModelRoute, RoutingTable, UnreadableTable, read_table

from .answers import Refusal

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1


class Tables:
    """Holds the table. ``changed`` is set and cleared again whenever a new one is in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[int, int, int] | None = None
        self._trouble = ""
        self._routes: dict[str, ModelRoute] = {}
        self.table = RoutingTable(version=0)
        self.doorkeeper = Doorkeeper()
        self.changed = asyncio.Condition()
        self.refresh()

    def refresh(self) -> bool:
        """Look at the file; ``True`` = another table is in force now."""
        try:
            stat = self._path.stat()
            mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if mark == self._mark:
                return False
            table = read_table(self._path)
        except (OSError, UnreadableTable) as error:
            self._complain(str(error))
            return False
        self._mark, self._trouble, self.table = mark, "", table
        self._routes = {route.name: route for route in table.models}
        self.doorkeeper.set_keys(table.keys, closed=table.closed)
        return True

    def _complain(self, trouble: str) -> None:
        """Once for each trouble: the gateway goes on with the table that it has."""
        if trouble != self._trouble:
            log.warning("the routing table cannot be read, going on with version %d: %s", self.table.version, trouble)
            self._trouble = trouble

    async def follow(self) -> None:
        """Look at the file for as long as the gateway runs."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.refresh():
                async with self.changed:
                    self.changed.notify_all()

    async def wait(self, timeout_s: float) -> None:
        """Return when a new table is in force, or when the time is up."""
        async with self.changed:
            try:
                await asyncio.wait_for(self.changed.wait(), timeout_s)
            except TimeoutError:
                return

    def route(self, model: str) -> ModelRoute:
        """Raises ``Refusal`` (404) with the near names."""
        found = self._routes.get(model)
        if found is None:
            near = get_close_matches(model, self._routes, n=3)
            known = sorted(self._routes)[:10]
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Served here: {', '.join(known) or 'none'}."
            raise Refusal(404, f"The model {model!r} is not served here. {hint}", code="model_not_found")
        return found

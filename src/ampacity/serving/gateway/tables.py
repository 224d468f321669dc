"""The routing table as the gateway has it: read again when its file changed, the last good one kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from ampacity.model.access import ApiKey
from ampacity.model.route import Route
from ampacity.serving.admission import Doorkeeper
from ampacity.serving.table import ModelRoute, RoutingTable, UnreadableTable, read_table

from .answers import Refusal

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1


class Tables:
    """Holds the table; who has to know of a new one is told. ``public``: the routes by their names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[int, int, int] | None = None
        self._trouble = ""
        self._routes: dict[str, ModelRoute] = {}
        self._keys: dict[str, ApiKey] = {}
        self.public: dict[str, Route] = {}
        self._told: list[Callable[[RoutingTable], None]] = []
        self.table = RoutingTable(version=0)
        self.doorkeeper = Doorkeeper()
        self.refresh()

    def on_change(self, tell: Callable[[RoutingTable], None]) -> None:
        """Call this with every new table."""
        self._told.append(tell)

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
        self._keys = {key.id: key for key in table.keys}
        self.public = {route.name: route for route in table.routes}
        log.info("version %d of the routing table is in force", table.version)
        for tell in self._told:
            tell(table)
        return True

    def _complain(self, trouble: str) -> None:
        """Once for each trouble: the gateway goes on with the table that it has."""
        if trouble != self._trouble:
            log.warning("the routing table cannot be read, going on with version %d: %s", self.table.version, trouble)
            self._trouble = trouble

    def key(self, id: str) -> ApiKey | None:
        return self._keys.get(id)

    def find(self, model: str) -> ModelRoute | None:
        return self._routes.get(model)

    def route(self, model: str) -> ModelRoute:
        """Raises ``Refusal`` (404) with the near names."""
        found = self._routes.get(model)
        if found is None:
            names = {*self._routes, *self.public}
            near = get_close_matches(model, names, n=3)
            known = sorted(names)[:10]
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Served here: {', '.join(known) or 'none'}."
            raise Refusal(404, f"The model {model!r} is not served here. {hint}", code="model_not_found")
        return found

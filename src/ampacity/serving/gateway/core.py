"""What all connections of one process share: the table, the engines, the routers, the clock of the time limits."""

from __future__ import annotations

import secrets
from time import monotonic, time
from typing import TYPE_CHECKING

from ampacity.model.access import ApiKey
from ampacity.model.service_terms import Routing
from ampacity.serving.admission import Refused
from ampacity.serving.dispatch import RequestId
from ampacity.serving.metering import MeterBoard, Recorder
from ampacity.serving.routing.base import EngineId

from .answers import refusal_of
from .desk import Desk
from .fleet import Fleet
from .heads import RequestHead
from .lanes import lanes_of
from .remote_desk import UnderWay
from .shadow import Shadows
from .tables import Tables
from .tracing import Tracer
from .wheel import Wheel

if TYPE_CHECKING:
    from .client import Client


class Core:
    """One process's gateway, without its sockets."""

    def __init__(
        self,
        tables: Tables,
        routing: str,
        desk: Desk,
        recorder: Recorder | None = None,
        board: MeterBoard | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """``routing``: the policy's name. ``recorder``: where what was used is written down; ``board``: its sums;
        ``tracer``: ``None`` = nothing is traced."""
        self.recorder, self.board, self.tracer = recorder, board, tracer
        self.tables, self.routing, self.desk = tables, routing, desk
        self.wants_blocks = False
        self.wheel = Wheel(monotonic())
        self.clients: set[Client] = set()
        self.fleet = Fleet(self.wheel, self._spread, self._silent)
        self.draining = False
        self.shadows = Shadows(self)
        self._id_prefix, self._last_id = secrets.token_hex(6).encode(), 0
        tables.on_change(self.fleet.follow)
        self.fleet.follow(tables.table)

    def who(self, head: RequestHead) -> ApiKey | None:
        """Whose key came with the request; ``None`` = nobody's, where none is asked for. Raises ``Refusal`` (401)."""
        who = self.tables.doorkeeper.who(head.authorization or None, time())
        if isinstance(who, Refused):
            raise refusal_of(who)
        return who

    def next_request_id(self) -> bytes:
        self._last_id += 1
        return b"%s%08x" % (self._id_prefix, self._last_id)

    def next_request(self) -> RequestId:
        self._last_id += 1
        return RequestId(self._last_id)

    def tick(self) -> None:
        """Called a few times a second: time limits, and who has stood in line for too long."""
        now = monotonic()
        self.wheel.advance(now)
        self.desk.tick(now)

    def _spread(self) -> None:
        """The table or the engines' shares have changed: tell the desk."""
        table = self.tables.table
        lanes = lanes_of(table, self.fleet.members, self.routing)
        self.wants_blocks = any(lane.routing == Routing.PREFIX for lane in lanes)
        self.desk.follow(table, lanes)

    def under_way(self) -> list[UnderWay]:
        """The requests that engines have now."""
        return [found for client in self.clients if (found := client.under_way()) is not None]

    def _silent(self, engine: EngineId) -> None:
        """An engine answers no probes any more: who waits for it may go elsewhere."""
        for client in list(self.clients):
            client.engine_silent(engine)

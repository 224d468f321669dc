"""What is known of a request on its way to an engine, and of its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ampacity.serving.dispatch import Send
from ampacity.serving.routing.base import NO_ENGINES, EngineId
from ampacity.serving.table import ModelRoute

from .answer import Answer, Answering
from .body import Asked, with_model
from .desk import NOT_COUNTED, Counted
from .engines import Engine
from .heads import RequestHead
from .upstream import Upstream

if TYPE_CHECKING:
    from .core import Core
    from .hedge import Hedge
    from .rescue import Rescue
    from .visit import Visit


class FlightState:
    """``outgoing``: the body as engines get it, but for the model's name. ``tried``: engines that are not asked again.
    ``note``: a line for the answer's head. ``passed``: so many tokens had come when it was left.
    ``seen_bytes``, ``patience_until`` and ``hedge`` are for who watches over its time limits.
    """

    __slots__ = (
        "answer",
        "asked",
        "body",
        "client",
        "connecting",
        "core",
        "first_at",
        "hedge",
        "id",
        "note",
        "outgoing",
        "passed",
        "patience_until",
        "replica",
        "request",
        "rescue",
        "retried",
        "route",
        "seen_bytes",
        "unheard",
        "upstream",
        "visit",
    )

    def __init__(
        self,
        core: Core,
        client: Answering,
        request: RequestHead,
        body: bytes,
        asked: Asked,
        *,
        visit: Visit,
        send: Send,
        note: bytes,
    ) -> None:
        self.core, self.client, self.request, self.body, self.asked = core, client, request, body, asked
        self.visit, self.note = visit, note
        self.route: ModelRoute = core.tables.route(send.model or visit.request.model)
        choice = visit.choice
        self.id = request.request_id or (core.next_request_id() if choice is None else choice.request_id)
        self.outgoing = body
        self.rescue: Rescue | None = None
        self.upstream: Upstream | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.hedge: Hedge | None = None
        self.answer: Answer | None = None
        self.replica = ""
        self.first_at = self.patience_until = 0.0
        self.passed = self.seen_bytes = 0
        self.retried = self.unheard = False

    @property
    def continues(self) -> bool:
        """Whether it goes on with a stream that another engine began."""
        return self.rescue is not None and self.rescue.progress is not None

    @property
    def begun(self) -> bool:
        """Whether a byte of the answer has been passed on."""
        return self.continues or (self.answer is not None and self.answer.begun)

    @property
    def streamed(self) -> bool:
        return self.continues or (self.answer is not None and self.answer.stream is not None)

    @property
    def status(self) -> int:
        """What the engine said; 200 for a stream that another one has taken over."""
        return 200 if self.answer is None else self.answer.head.status

    def counted(self) -> Counted:
        """What its answer took."""
        return NOT_COUNTED if self.answer is None else self.answer.counted

    def request_bytes(self, engine: Engine) -> bytes:
        """The request as this engine is to hear it."""
        request, body = self.request, self.outgoing
        if self.asked.model != self.route.upstream:
            body = with_model(body, self.asked, self.route.upstream)
        return b"%s %s HTTP/1.1\r\nhost: %s\r\n%sx-request-id: %s\r\ncontent-length: %d\r\n\r\n%s" % (
            request.method,
            request.target,
            engine.host,
            request.forward,
            self.id,
            len(body),
            body,
        )

    @property
    def tried(self) -> frozenset[EngineId]:
        return NO_ENGINES if self.rescue is None else self.rescue.tried

    def has_other(self, engine: EngineId) -> bool:
        """Whether there is another engine that has not been tried."""
        return self.core.fleet.has_other(self.route, self.tried | {engine})

    @property
    def hedges(self) -> bool:
        return self.route.hedge_after_s > 0 and not self.continues

"""One request on its way: sent to its engine, its answer relayed; taken to another engine when that one dies."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

from ampacity.serving.dispatch import Answer as Decision
from ampacity.serving.dispatch import Send
from ampacity.serving.routing.base import NO_ENGINES, EngineId
from ampacity.serving.table import ModelRoute

from .answer import Answer, Answering, break_off, end_stream
from .answers import Refusal, refusal_of
from .body import Asked, with_model
from .chunked import BadChunk
from .continuing import CannotContinue, Progress
from .desk import NOT_COUNTED, Counted
from .engines import Engine, EngineLost, connect
from .heads import AnswerHead, RequestHead
from .hedge import Hedge
from .takeover import Takeover
from .upstream import Upstream
from .usage import events_in

if TYPE_CHECKING:
    from .core import Core
    from .visit import Visit

log = logging.getLogger(__name__)

WAIT_FOR_ENGINE_S = 10.0
"""How long a request waits for an engine when there is none that it has not tried."""

WAIT_FOR_REST_S = 30.0
"""The same for a stream that was interrupted."""

LOOK_AGAIN_S = 0.25
FIRST_BYTE_LIMIT_S = 600.0
STALL_LIMIT_S = 300.0
"""How long an engine may be silent within an answer."""

SUSPECT_LIMIT_S = 1.0
"""The same for one that does not answer probes any more."""

MOST_LOSSES = 3
"""So many engines may be lost by a request, none of which gave a token: then the request may be what ends them."""

OVERLOADED = frozenset((429, 502, 503, 504))
"""What an engine says that another one may not say."""


class Flight:
    """Fulfils ``Exchange`` of :mod:`ampacity.serving.gateway.upstream` and ``Waiting`` of the desk."""

    __slots__ = (
        "_answer",
        "_asked",
        "_body",
        "_client",
        "_connecting",
        "_core",
        "_deadline",
        "_excluded",
        "_hedge",
        "_losses",
        "_note",
        "_patience_until",
        "_progress",
        "_request",
        "_rest_body",
        "_retried",
        "_seen_bytes",
        "_unheard",
        "_upstream",
        "_visit",
        "first_at",
        "id",
        "passed",
        "replica",
        "route",
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
        """``note``: a line for the answer's head."""
        self._core, self._client, self._request, self._body, self._asked = core, client, request, body, asked
        self._visit, self._note = visit, note
        self.route: ModelRoute = core.tables.route(send.model or asked.model)
        self.id = request.request_id or core.next_request_id()
        self._excluded: frozenset[EngineId] = NO_ENGINES
        self._deadline = self._patience_until = 0.0
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._hedge: Hedge | None = None
        self._answer: Answer | None = None
        self._progress: Progress | None = None
        self._rest_body = b""
        self.replica = ""
        self.first_at = 0.0
        self.passed = 0
        self._retried = self._unheard = False
        self._losses = self._seen_bytes = 0

    @property
    def _begun(self) -> bool:
        """Whether a byte of the answer has been passed on."""
        return self._progress is not None or (self._answer is not None and self._answer.begun)

    @property
    def streamed(self) -> bool:
        return self._progress is not None or (self._answer is not None and self._answer.stream is not None)

    @property
    def status(self) -> int:
        """What the engine said; 200 for a stream that another one has taken over."""
        return 200 if self._answer is None else self._answer.head.status

    def counted(self) -> Counted:
        """What its answer took."""
        return NOT_COUNTED if self._answer is None else self._answer.counted

    # Sending ---------------------------------------------------------------------------------------------------------

    def bound(self, engine: EngineId) -> None:
        """Send the request there."""
        now = monotonic()
        self._patience_until = now + FIRST_BYTE_LIMIT_S
        self._client.limit(now + self.route.hedge_after_s if self._hedges else self._patience_until)
        found = self._core.fleet.engines.get(engine)
        if found is None:
            self._fail(engine, "it has left")
            return
        kept = found.kept()
        if kept is not None:
            self._send(kept)
        else:
            self._connect(found)

    def _offer_again(self, now: float) -> None:
        """Ask the desk for another engine; where all have been tried, after a pause, for any."""
        if not self._deadline:
            self._deadline = now + (WAIT_FOR_REST_S if self._begun else WAIT_FOR_ENGINE_S)
        route = self._core.tables.find(self.route.name) or self.route
        if route.replicas and all(each.id in self._excluded for each in route.replicas):
            self._excluded = NO_ENGINES
            self._client.limit(now + LOOK_AGAIN_S)
            return
        self._ask_again(now)

    def _ask_again(self, now: float) -> None:
        decision = self._core.desk.again(self._visit.request.id, self, now, self._excluded)
        if decision is not None:
            self._take(decision)
        else:
            self._visit.standing = True
            self._client.limit(now + LOOK_AGAIN_S)

    def decided(self, answer: Decision) -> None:
        """Called by the desk, when it was held."""
        self._visit.standing = False
        self._take(answer)

    def _take(self, decision: Decision) -> None:
        if isinstance(decision, Send):
            self.bound(decision.engine)
        elif self._begun:
            break_off(self._client, self._request, decision.message, streamed=True)
        else:
            self._client.refuse(refusal_of(decision))

    def _connect(self, engine: Engine) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self._send_on_fresh(engine))

    async def _send_on_fresh(self, engine: Engine) -> None:
        try:
            upstream = await connect(engine, Upstream)
        except EngineLost as error:
            self._connecting = None
            self._core.fleet.note_loss(engine.id, str(error))
            self._fail(engine.id, str(error))
            return
        self._connecting = None
        self._send(upstream)

    def _send(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._seen_bytes = 0
        upstream.ask(self.request_bytes(upstream.engine), self)

    def request_bytes(self, engine: Engine) -> bytes:
        """The request as this engine is to hear it."""
        request, body = self._request, self._rest_body or self._body
        if self._asked.model != self.route.upstream:
            body = with_model(body, self._asked, self.route.upstream)
        return b"%s %s HTTP/1.1\r\nhost: %s\r\n%sx-request-id: %s\r\ncontent-length: %d\r\n\r\n%s" % (
            request.method,
            request.target,
            engine.host,
            request.forward,
            self.id,
            len(body),
            body,
        )

    # The answer: called by the upstream ------------------------------------------------------------------------------

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        engine = upstream.engine
        if head.status in OVERLOADED and self.has_other(engine.id):
            upstream.leave()
            self._upstream = None
            self._fail(engine.id, f"it answered {head.status}")
            return
        now = monotonic()
        engine.health.answered(head.status, now)
        if self._progress is not None and not (head.status == 200 and head.events):
            self._abandon_rest(upstream, f"another one answered {head.status} when asked for the rest")
            return
        self.replica = engine.id
        self._answer = Answer(self._client, self._request, head, note=self._note, progress=self._progress)
        self._unheard = head.events  # many engines send the head of a stream before they have begun with its prompt
        if not head.events:
            self._core.desk.answered(self._visit.request.id, now)

    def piece(self, upstream: Upstream, data: bytes) -> None:
        answer = self._answer
        assert answer is not None, "a piece comes after the head"
        if not self.first_at:
            self.first_at = monotonic()
        if self._unheard:
            self._unheard = False
            self._core.desk.answered(self._visit.request.id, monotonic())
        if self._hedge is not None:
            self._drop_hedge()
        try:
            answer.piece(upstream, data)
        except (BadChunk, CannotContinue) as error:
            self._abandon(str(error))

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self._upstream = None
        answer = self._answer
        assert answer is not None, "an answer ends after its head"
        if not self.first_at:
            self.first_at = monotonic()
        if self._hedge is not None:
            self._drop_hedge()
        try:
            answer.complete(upstream, data)
        except (BadChunk, CannotContinue) as error:
            self._fail(upstream.engine.id, str(error))
            return

    # Failing ---------------------------------------------------------------------------------------------------------

    def lost(self, upstream: Upstream, why: str) -> None:
        """A kept connection may have been closed by the engine at this very moment: that says nothing of the engine,
        so the request is sent once more on a fresh one."""
        self._upstream = None
        if not upstream.fresh and self._answer is None and not self._retried:
            self._retried = True
            self._connect(upstream.engine)
            return
        self._losses += 1
        self._core.fleet.note_loss(upstream.engine.id, why)
        self._fail(upstream.engine.id, why, upstream.raw)

    def _fail(self, engine: EngineId, why: str, raw: list[bytes] | None = None) -> None:
        """This engine does not answer: another one shall, from the beginning or, where something was passed on
        already, from there. ``raw``: the answer's body as it came."""
        now = monotonic()
        answer, self._answer = self._answer, None
        if answer is not None and answer.begun and not self._take_over(answer, raw, why, now):
            return
        if self._losses >= MOST_LOSSES:
            self._give_in(why)
            return
        self._retried = False
        self._excluded |= {engine}
        self._offer_again(now)

    def _take_over(self, answer: Answer, raw: list[bytes] | None, why: str, now: float) -> bool:
        """Whether the rest of the answer is to be asked for. If not, it was ended here."""
        if answer.stream is None:
            self._client.cut()
            return False
        try:
            taken = Takeover(answer.stream, raw, request=self._request, route=self.route, body=self._body)
        except CannotContinue as error:
            break_off(self._client, self._request, f"{why}; {error}", streamed=True)
            return False
        if taken.rest is not None:
            end_stream(self._client, self._request, taken.rest)
            return False
        if taken.progress.advanced():
            self._losses = 0
        self._progress, self._rest_body = taken.progress, taken.body
        self._deadline = now + WAIT_FOR_REST_S
        return True

    def _give_in(self, why: str) -> None:
        """It is not tried on yet another engine."""
        if self._begun:
            break_off(self._client, self._request, why, streamed=True)
            return
        message = f"{self._losses} replicas were lost with this request; the last one: {why}."
        self._client.refuse(Refusal(502, message, code="replica_lost"))

    def _abandon(self, why: str) -> None:
        """Leave this engine, and go on as if it were lost."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            raw = upstream.raw
            upstream.leave()
            self._core.fleet.note_loss(upstream.engine.id, why)
            self._fail(upstream.engine.id, why, raw)

    def _abandon_rest(self, upstream: Upstream, why: str) -> None:
        """An engine does not understand what it was asked to go on with: no other one will."""
        self._upstream = None
        upstream.leave()
        break_off(self._client, self._request, why, streamed=True)

    def has_other(self, engine: EngineId) -> bool:
        """Whether there is another engine that has not been tried."""
        return self._core.fleet.has_other(self.route, self._excluded | {engine})

    # Time limits -----------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """The time limit that was set last has passed."""
        upstream = self._upstream
        if upstream is not None:
            self._watch(now, upstream)
        elif self._connecting is None:
            self._waited(now)

    def _waited(self, now: float) -> None:
        """No engine has taken it so far: those that failed may be tried again."""
        if now < self._deadline:
            if self._visit.standing:
                self._client.limit(now + LOOK_AGAIN_S)
            else:
                self._ask_again(now)
        elif self._begun:
            break_off(self._client, self._request, no_engine(self.route.name).message, streamed=True)
        else:
            self._client.refuse(no_engine(self.route.name))

    def engine_silent(self, engine: EngineId) -> None:
        """Called when an engine answers no probes any more: if it is silent here as well, another one shall go on."""
        upstream = self._upstream
        if upstream is not None and upstream.engine.id == engine:
            self._seen_bytes = upstream.body_bytes
            self._client.limit(monotonic() + SUSPECT_LIMIT_S)

    def _watch(self, now: float, upstream: Upstream) -> None:
        """A limit on the engine's silence has passed: has it said anything since the last look?"""
        engine = upstream.engine
        if upstream.body_bytes != self._seen_bytes:
            self._seen_bytes = upstream.body_bytes
            self._patience_until = now + STALL_LIMIT_S
        elif engine.health.silent and self.has_other(engine.id):
            self._abandon("it answers neither this request nor probes")
            return
        elif now >= self._patience_until:
            self._lose_patience()
            return
        elif self._hedges and not upstream.body_bytes and self._hedge is None:
            Hedge.begin(self, self._core, self.route, self._excluded | {engine.id})
        self._client.limit(now + SUSPECT_LIMIT_S if engine.health.silent else self._patience_until)

    def _lose_patience(self) -> None:
        if self._begun or self._answer is not None:
            self._abandon(f"it was silent for {STALL_LIMIT_S:g} s")
            return
        self.leave()
        message = f"The replica did not answer within {FIRST_BYTE_LIMIT_S:g} s."
        self._client.refuse(Refusal(504, message, code="timeout"))

    @property
    def _hedges(self) -> bool:
        return self.route.hedge_after_s > 0 and self._progress is None

    # Hedging ---------------------------------------------------------------------------------------------------------

    def hedged(self, hedge: Hedge | None) -> None:
        """A second engine is being asked; ``None``: no more."""
        self._hedge = hedge

    def adopt(self, upstream: Upstream, head: AnswerHead) -> None:
        """The second engine was first: what it says is the answer, and the first one is left."""
        self._hedge = None
        self._leave_engine()
        self._upstream, self.replica = upstream, upstream.engine.id
        self._answer = Answer(self._client, self._request, head, note=self._note, progress=None)

    def _drop_hedge(self) -> None:
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            hedge.leave()

    # Called by the client's connection -------------------------------------------------------------------------------

    def leave(self) -> None:
        """The client has left, or was refused: free the engine."""
        self._drop_hedge()
        self._leave_engine()

    def _leave_engine(self) -> None:
        upstream, self._upstream = self._upstream, None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if upstream is not None:
            self.passed = events_in(upstream.raw or (), b"")
            upstream.leave()

    def pause(self) -> None:
        """The client takes no more for now."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        if self._upstream is not None:
            self._upstream.resume()


def no_engine(model: str, *, any_known: bool = True) -> Refusal:
    """There was none for as long as a request waits."""
    message = f"No replica of {model!r} {'answers' if any_known else 'is ready'}."
    return Refusal(503, message, code="no_replica", headers=((b"retry-after", b"5"),))

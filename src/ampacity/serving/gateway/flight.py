"""One request on its way: sent to its engine, its answer relayed. What is done when an engine fails is the rescue's."""

from __future__ import annotations

import asyncio
from time import monotonic

from ampacity.model.route import Trouble
from ampacity.serving.routing.base import EngineId

from .answer import Answer, break_off
from .chunked import BadChunk
from .continuing import CannotContinue
from .engines import Engine, EngineLost, connect
from .flight_state import FlightState
from .heads import AnswerHead
from .patience import FIRST_BYTE_LIMIT_S, SUSPECT_LIMIT_S, watch
from .rescue import Rescue
from .upstream import Exchange, Upstream
from .usage import events_in

OVERLOADED = frozenset((429, 502, 503, 504))
"""What an engine says that another one may not say."""


class Flight(FlightState, Exchange):
    """Fulfils ``Exchange`` of :mod:`ampacity.serving.gateway.upstream`."""

    __slots__ = ()

    # Sending ---------------------------------------------------------------------------------------------------------

    def bound(self, engine: EngineId) -> None:
        """Send the request there."""
        now = monotonic()
        self.patience_until = now + FIRST_BYTE_LIMIT_S
        self.client.limit(now + self.route.hedge_after_s if self.hedges else self.patience_until)
        found = self.core.fleet.engines.get(engine)
        if found is None:
            self.fail(engine, "it has left")
            return
        kept = found.kept()
        if kept is not None:
            self._send(kept)
        else:
            self._connect(found)

    def _connect(self, engine: Engine) -> None:
        self.connecting = asyncio.get_running_loop().create_task(self._send_on_fresh(engine))

    async def _send_on_fresh(self, engine: Engine) -> None:
        try:
            upstream = await connect(engine, Upstream)
        except EngineLost as error:
            self.connecting = None
            self.core.fleet.note_loss(engine.id, str(error))
            self.fail(engine.id, str(error))
            return
        self.connecting = None
        self._send(upstream)

    def _send(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.seen_bytes = 0
        upstream.ask(self.request_bytes(upstream.engine), self)

    # The answer: called by the upstream ------------------------------------------------------------------------------

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        engine = upstream.engine
        if head.status >= 429 and self._goes_elsewhere(upstream, head.status):
            return
        now = monotonic()
        engine.health.answered(head.status, now)
        rescue = self.rescue
        if rescue is not None and rescue.progress is not None and not (head.status == 200 and head.events):
            self._abandon_rest(upstream, f"another one answered {head.status} when asked for the rest")
            return
        self.replica = engine.id
        progress = None if rescue is None else rescue.progress
        self.answer = Answer(self.client, self.request, head, note=self.note, progress=progress)
        self.unheard = head.events  # many engines send the head of a stream before they have begun with its prompt
        if not head.events:
            self.core.desk.answered(self.visit.request.id, now)

    def _goes_elsewhere(self, upstream: Upstream, status: int) -> bool:
        """Whether another engine, or another model, answers for one that answered with an error."""
        engine = upstream.engine
        if status in OVERLOADED and self.has_other(engine.id):
            upstream.leave()
            self.upstream = None
            self.fail(engine.id, f"it answered {status}")
            return True
        if (status >= 500 or status in OVERLOADED) and self.falls_back():
            engine.health.answered(status, monotonic())
            return True
        return False

    def piece(self, upstream: Upstream, data: bytes) -> None:
        answer = self.answer
        assert answer is not None, "a piece comes after the head"
        if not self.first_at:
            self.first_at = monotonic()
        if self.unheard:
            self.unheard = False
            self.core.desk.answered(self.visit.request.id, monotonic())
        if self.hedge is not None:
            self._drop_hedge()
        try:
            answer.piece(upstream, data)
        except (BadChunk, CannotContinue) as error:
            self.abandon(str(error))

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self.upstream = None
        answer = self.answer
        assert answer is not None, "an answer ends after its head"
        if answer.stream is not None and not self.first_at:
            self.first_at = monotonic()
        if self.hedge is not None:
            self._drop_hedge()
        try:
            answer.complete(upstream, data)
        except (BadChunk, CannotContinue) as error:
            self.fail(upstream.engine.id, str(error))

    # Failing ---------------------------------------------------------------------------------------------------------

    def lost(self, upstream: Upstream, why: str) -> None:
        """A kept connection may have been closed by the engine at this very moment: that says nothing of the engine,
        so the request is sent once more on a fresh one."""
        self.upstream = None
        if not upstream.fresh and self.answer is None and not self.retried:
            self.retried = True
            self._connect(upstream.engine)
            return
        self.core.fleet.note_loss(upstream.engine.id, why)
        self.fail(upstream.engine.id, why, upstream.raw, lost=True)

    def fail(self, engine: EngineId, why: str, raw: list[bytes] | None = None, *, lost: bool = False) -> None:
        """This engine does not answer: see to it that another one does. ``raw``: the answer's body as it came;
        ``lost``: the engine broke under this request."""
        self.retried = False
        rescue = self.rescue
        if rescue is None:
            rescue = self.rescue = Rescue(self)
        rescue.engine_failed(engine, why, raw, lost=lost)

    def falls_back(self) -> bool:
        """Whether another model answers instead, as its route has it: then this flight is over."""
        choice = self.visit.choice
        if choice is None or self.begun or not choice.may(Trouble.ERROR):
            return False
        self.leave()
        return self.visit.fall_back(Trouble.ERROR)

    def abandon(self, why: str) -> None:
        """Leave this engine, and go on as if it were lost."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            raw = upstream.raw
            upstream.leave()
            self.core.fleet.note_loss(upstream.engine.id, why)
            self.fail(upstream.engine.id, why, raw)

    def _abandon_rest(self, upstream: Upstream, why: str) -> None:
        """An engine does not understand what it was asked to go on with: no other one will."""
        self.upstream = None
        upstream.leave()
        break_off(self.client, self.request, why, streamed=True)

    # Time limits -----------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """The time limit that was set last has passed."""
        if self.upstream is not None:
            watch(self, self.upstream, now)
        elif self.connecting is None and self.rescue is not None:
            self.rescue.waited(now)

    def engine_silent(self, engine: EngineId) -> None:
        """Called when an engine answers no probes any more: if it is silent here as well, another one shall go on."""
        upstream = self.upstream
        if upstream is not None and upstream.engine.id == engine:
            self.seen_bytes = upstream.body_bytes
            self.client.limit(monotonic() + SUSPECT_LIMIT_S)

    # Hedging ---------------------------------------------------------------------------------------------------------

    def adopt(self, upstream: Upstream, head: AnswerHead) -> None:
        """The second engine was first: what it says is the answer, and the first one is left."""
        self.hedge = None
        self._leave_engine()
        self.upstream, self.replica = upstream, upstream.engine.id
        self.answer = Answer(self.client, self.request, head, note=self.note, progress=None)

    def _drop_hedge(self) -> None:
        hedge, self.hedge = self.hedge, None
        if hedge is not None:
            hedge.leave()

    # Called by the client's connection -------------------------------------------------------------------------------

    def leave(self) -> None:
        """The client has left, or was refused: free the engine."""
        self._drop_hedge()
        self._leave_engine()

    def _leave_engine(self) -> None:
        upstream, self.upstream = self.upstream, None
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if upstream is not None:
            self.passed = events_in(upstream.raw or (), b"")
            upstream.leave()

    def pause(self) -> None:
        """The client takes no more for now."""
        if self.upstream is not None:
            self.upstream.pause()

    def resume(self) -> None:
        if self.upstream is not None:
            self.upstream.resume()

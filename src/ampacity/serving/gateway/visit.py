"""One request from the door to its end: asked about at the desk, let fly when its turn has come, accounted for."""

from __future__ import annotations

import logging
from time import monotonic, time
from typing import TYPE_CHECKING, Protocol

from ampacity.model.access import ApiKey
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.request_usage import RequestRecord
from ampacity.model.route import Trouble
from ampacity.serving.admission import Ending, Refused
from ampacity.serving.admission.access import may_use, model_refused
from ampacity.serving.dispatch import Answer, Request, Send
from ampacity.serving.routing.blocks import TOKEN_BYTES, blocks_of, session_of

from .answer import Answering
from .answers import Refusal, failed, refusal_of
from .body import Asked, timeout_of, with_fields
from .choice import TROUBLES, Choice
from .desk import NOT_COUNTED, Counted
from .flight import Flight
from .heads import RequestHead
from .patience import LOOK_AGAIN_S, WAIT_FOR_ENGINE_S
from .request_spans import Traced
from .rescue import no_engine

if TYPE_CHECKING:
    from .core import Core


log = logging.getLogger(__name__)


class Host(Answering, Protocol):
    """The client's connection."""

    __slots__ = ()

    def fly(self, flight: Flight | None) -> None:
        """The request is let in: this is its flight. ``None``: it was, and asks again."""
        ...


class Visit:
    """Fulfils :class:`ampacity.serving.gateway.desk.Waiting`. ``over`` ends it, whatever came of it. ``choice`` is made
    for those that ask for a route, ``traced`` for those that are recorded as spans."""

    __slots__ = (
        "_body",
        "_core",
        "_host",
        "_over",
        "_sent",
        "asked",
        "choice",
        "head",
        "request",
        "standing",
        "traced",
    )

    request: Request

    def __init__(self, core: Core, host: Host, head: RequestHead, body: bytes, asked: Asked) -> None:
        """``standing``: it waits for the desk's answer, the first one or another."""
        self._core, self._host, self.head, self._body, self.asked = core, host, head, body, asked
        self.traced: Traced | None = None
        self.standing = self._sent = self._over = False
        self.choice: Choice | None = None

    def begin(self, who: ApiKey | None) -> None:
        """Ask to be let in. Raises ``Refusal``."""
        asked, core = self.asked, self._core
        named = core.tables.public.get(asked.model) if core.tables.public else None
        if named is None:
            core.tables.route(asked.model)
        if who is not None and not may_use(who, asked.model):
            raise refusal_of(model_refused(who, asked.model))
        now = monotonic()
        timeout_s = timeout_of(self.head.timeout) if self.head.timeout else asked.timeout
        prompt = asked.messages or asked.prompt
        self.request = Request(
            core.next_request(),
            asked.model,
            arrived=now,
            tokens=len(prompt) // TOKEN_BYTES,
            session=session_of(self.head.session),
            blocks=blocks_of(memoryview(prompt)) if core.wants_blocks else (),
            key=who,
            max_tokens=asked.most_tokens,
            deadline=None if timeout_s is None else now + timeout_s,
            streams=asked.stream,
        )
        if named is not None:
            self.choice = Choice(
                named, core.tables, head=self.head, body=self._body, who=who, id=core.next_request_id(), now=now
            )
            self.request.model = self.choice.model
        if core.tracer is not None:
            self.traced, self.head = core.tracer.begin(self.head)
        self._ask(now)

    @property
    def arrived(self) -> float:
        """When the request came (monotonic), whichever models have been asked since."""
        return self.request.arrived if self.choice is None else self.choice.arrived

    def _ask(self, now: float) -> None:
        """Raises ``Refusal``."""
        answer = self._core.desk.ask(self.request, self, now)
        if answer is None:
            self.standing = True
            self._host.limit(now + LOOK_AGAIN_S)
        else:
            self._go(answer)

    def fall_back(self, trouble: Trouble) -> bool:
        """Whether another model is asked instead, as its route has it. What had it so far has been left."""
        choice = self.choice
        if choice is None or not choice.next(trouble):
            return False
        now, before = monotonic(), self.request
        if self.standing:
            self._core.desk.withdrawn(before.id, now)
        elif self._sent:
            self._core.desk.ended(before.id, now, Ending.FAILED)
        self.standing = self._sent = False
        self._host.fly(None)
        self.request = Request(
            self._core.next_request(),
            choice.model,
            arrived=now,
            tokens=before.tokens,
            session=before.session,
            blocks=before.blocks,
            key=before.key,
            max_tokens=before.max_tokens,
            deadline=before.deadline,
            streams=before.streams,
            despite_budget=before.despite_budget or trouble is Trouble.BUDGET,
        )
        try:
            self._ask(now)
        except Refusal as refusal:
            self._host.refuse(refusal)
        return True

    def decided(self, answer: Answer) -> None:
        """Called by the desk when it was held."""
        try:
            self._go(answer)
        except Refusal as refusal:
            self._host.refuse(refusal)
        except Exception:
            log.exception("a request could not be served")
            self._host.refuse(failed())

    def _go(self, answer: Answer) -> None:
        self.standing = False
        if isinstance(answer, Refused):
            trouble = None if self.choice is None else TROUBLES.get(answer.code)
            if trouble is not None and self.fall_back(trouble):
                return
            self._over = True
            if self.traced is not None:
                self._trace(None, answer.status, NOT_COUNTED)
            raise refusal_of(answer)
        self._sent = True
        if self.traced is not None:
            self.traced.sent_at = self.traced.sent_at or monotonic()
        body, asked = self._body, self.asked
        if asked.timeout is not None or answer.max_tokens is not None:
            body = with_fields(body, asked, max_tokens=answer.max_tokens)
        choice, note = self.choice, _note(answer)
        if choice is not None:
            note += choice.note(answer.model or choice.model)
        flight = Flight(self._core, self._host, self.head, body, asked, visit=self, send=answer, note=note)
        self._host.fly(flight)
        flight.bound(answer.engine)
        if choice is not None and choice.shadow:
            self._core.shadows.cast(flight, name=choice.name, model=choice.shadow)
            choice.shadow = ""

    def expire(self, now: float) -> None:
        """It stands, and the time has come to see whether there is anything to stand for."""
        route = self._core.tables.find(self.request.model)
        choice = self.choice
        if choice is not None:
            if 0.0 < choice.queue_after_s <= now - self.request.arrived and self.fall_back(Trouble.QUEUE):
                return
            if (route is None or not route.replicas) and self.fall_back(Trouble.ERROR):
                return
        if now >= self.request.arrived + WAIT_FOR_ENGINE_S and (route is None or not route.replicas):
            self._host.refuse(no_engine(self.asked.model, any_known=False))
        else:
            self._host.limit(now + LOOK_AGAIN_S)

    def over(self, ending: Ending, status: int, flight: Flight | None) -> None:
        """It was answered, failed, or its client has left. Once is enough."""
        if self._over:
            return
        self._over = True
        now = monotonic()
        counted = NOT_COUNTED
        if self.standing:
            self._core.desk.withdrawn(self.request.id, now)
        elif self._sent and flight is not None:
            counted = _counted(self.request, flight, ending)
            self._core.desk.ended(self.request.id, now, ending, counted)
            if self._core.recorder is not None:
                self._core.recorder.record(_record(self, flight, status, counted, now))
        elif self._sent:
            self._core.desk.ended(self.request.id, now, ending)
        if self.traced is not None:
            self._trace(flight, status, counted)

    def _trace(self, flight: Flight | None, status: int, counted: Counted) -> None:
        if self._core.tracer is not None:
            self._core.tracer.ended(self, flight, status, counted, monotonic())


def _counted(request: Request, flight: Flight, ending: Ending) -> Counted:
    """What it took and costs: as the engine counted it; of an answer that was cut short, what has passed."""
    if ending is Ending.FAILED:
        return NOT_COUNTED
    counted = flight.counted() if ending is Ending.COMPLETE else Counted(output_tokens=flight.passed)
    price = flight.route.price
    if price is None:
        return counted
    money = price.of(
        input_tokens=request.tokens if counted.input_tokens is None else counted.input_tokens,
        cached_tokens=counted.cached_tokens or 0,
        output_tokens=counted.output_tokens or 0,
    )
    return counted.at(money)


def _record(visit: Visit, flight: Flight, status: int, counted: Counted, now: float) -> RequestRecord:
    request, choice, arrived = visit.request, visit.choice, visit.arrived
    failed = counted is NOT_COUNTED
    given = (0 if failed else request.tokens) if counted.input_tokens is None else counted.input_tokens
    return RequestRecord(
        at=time(),
        project=DEFAULT_PROJECT if request.key is None else request.key.project,
        model=flight.route.name,
        key="" if request.key is None else request.key.id,
        replica=flight.replica,
        status=status,
        input_tokens=given,
        cached_tokens=counted.cached_tokens or 0,
        output_tokens=counted.output_tokens or 0,
        counted=counted.input_tokens is not None,
        ttft_s=flight.first_at - arrived if flight.streamed and flight.first_at else None,
        total_s=now - arrived,
        money=counted.money,
        route="" if choice is None else choice.name,
        reason="" if choice is None or choice.trouble is None else choice.trouble.value,
    )


def _note(send: Send) -> bytes:
    """What a brown-out has done, as a line of the answer's head."""
    if not send.model and send.max_tokens is None:
        return b""
    notes = [f"model={send.model}"] if send.model else []
    if send.max_tokens is not None:
        notes.append(f"max_tokens={send.max_tokens}")
    return f"x-ampacity-brown-out: {', '.join(notes)}\r\n".encode()

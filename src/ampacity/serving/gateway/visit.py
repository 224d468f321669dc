"""One request from the door to its end: asked about at the desk, let fly when its turn has come, accounted for."""

from __future__ import annotations

import logging
from time import monotonic, time
from typing import TYPE_CHECKING, Protocol

from ampacity.model.access import ApiKey
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.request_usage import RequestRecord
from ampacity.serving.admission import Ending, Refused
from ampacity.serving.admission.access import may_use, model_refused
from ampacity.serving.dispatch import Answer, Request, Send
from ampacity.serving.routing.blocks import TOKEN_BYTES, blocks_of, session_of

from .answer import Answering
from .answers import Refusal, failed, refusal_of
from .body import Asked, timeout_of, with_fields
from .desk import NOT_COUNTED, Counted
from .flight import Flight
from .heads import RequestHead
from .patience import LOOK_AGAIN_S, WAIT_FOR_ENGINE_S
from .rescue import no_engine

if TYPE_CHECKING:
    from .core import Core


log = logging.getLogger(__name__)


class Host(Answering, Protocol):
    """The client's connection."""

    __slots__ = ()

    def fly(self, flight: Flight) -> None:
        """The request is let in: this is its flight."""
        ...


class Visit:
    """Fulfils :class:`ampacity.serving.gateway.desk.Waiting`. ``over`` ends it, whatever came of it."""

    __slots__ = ("_asked", "_body", "_core", "_head", "_host", "_over", "_sent", "request", "standing")

    request: Request

    def __init__(self, core: Core, host: Host, head: RequestHead, body: bytes, asked: Asked) -> None:
        """``standing``: it waits for the desk's answer, the first one or another."""
        self._core, self._host, self._head, self._body, self._asked = core, host, head, body, asked
        self.standing = self._sent = self._over = False

    def begin(self, who: ApiKey | None) -> None:
        """Ask to be let in. Raises ``Refusal``."""
        asked, core = self._asked, self._core
        core.tables.route(asked.model)
        if who is not None and not may_use(who, asked.model):
            raise refusal_of(model_refused(who, asked.model))
        now = monotonic()
        timeout_s = timeout_of(self._head.timeout) if self._head.timeout else asked.timeout
        prompt = asked.messages or asked.prompt
        self.request = Request(
            core.next_request(),
            asked.model,
            arrived=now,
            tokens=len(prompt) // TOKEN_BYTES,
            session=session_of(self._head.session),
            blocks=blocks_of(memoryview(prompt)) if core.wants_blocks else (),
            key=who,
            max_tokens=asked.most_tokens,
            deadline=None if timeout_s is None else now + timeout_s,
            streams=asked.stream,
        )
        answer = core.desk.ask(self.request, self, now)
        if answer is None:
            self.standing = True
            self._host.limit(now + LOOK_AGAIN_S)
        else:
            self._go(answer)

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
            self._over = True
            raise refusal_of(answer)
        self._sent = True
        body, asked = self._body, self._asked
        if asked.timeout is not None or answer.max_tokens is not None:
            body = with_fields(body, asked, max_tokens=answer.max_tokens)
        flight = Flight(self._core, self._host, self._head, body, asked, visit=self, send=answer, note=_note(answer))
        self._host.fly(flight)
        flight.bound(answer.engine)

    def expire(self, now: float) -> None:
        """It stands, and the time has come to see whether there is anything to stand for."""
        route = self._core.tables.find(self._asked.model)
        if now >= self.request.arrived + WAIT_FOR_ENGINE_S and (route is None or not route.replicas):
            self._host.refuse(no_engine(self._asked.model, any_known=False))
        else:
            self._host.limit(now + LOOK_AGAIN_S)

    def over(self, ending: Ending, status: int, flight: Flight | None) -> None:
        """It was answered, failed, or its client has left. Once is enough."""
        if self._over:
            return
        self._over = True
        now = monotonic()
        if self.standing:
            self._core.desk.withdrawn(self.request.id, now)
        elif self._sent and flight is not None:
            counted = _counted(self.request, flight, ending)
            self._core.desk.ended(self.request.id, now, ending, counted)
            if self._core.recorder is not None:
                self._core.recorder.record(_record(self.request, flight, status, counted, now))
        elif self._sent:
            self._core.desk.ended(self.request.id, now, ending)


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


def _record(request: Request, flight: Flight, status: int, counted: Counted, now: float) -> RequestRecord:
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
        ttft_s=flight.first_at - request.arrived if flight.streamed and flight.first_at else None,
        total_s=now - request.arrived,
        money=counted.money,
    )


def _note(send: Send) -> bytes:
    """What a brown-out has done, as a line of the answer's head."""
    if not send.model and send.max_tokens is None:
        return b""
    notes = [f"model={send.model}"] if send.model else []
    if send.max_tokens is not None:
        notes.append(f"max_tokens={send.max_tokens}")
    return f"x-ampacity-brown-out: {', '.join(notes)}\r\n".encode()

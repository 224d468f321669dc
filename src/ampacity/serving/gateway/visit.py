"""One request from the door to its end: asked about at the gate, let fly when its turn has come, accounted for."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ampacity.model.access import ApiKey
from ampacity.serving.admission import GO, Ending, Entry, Go, Refused
from ampacity.serving.admission.access import may_use, model_refused

from .answer import Answering
from .answers import Refusal, failed, refusal_of
from .body import Asked, timeout_of, with_fields
from .flight import Flight
from .heads import RequestHead
from .wheel import NEVER

if TYPE_CHECKING:
    from .core import Core


log = logging.getLogger(__name__)


class Host(Answering, Protocol):
    """The client's connection."""

    def fly(self, flight: Flight) -> None:
        """The request is let in: this is its flight, which begins now."""
        ...


class Visit:
    """Fulfils :class:`ampacity.serving.gateway.gate.Admitted`. ``over`` ends it, whatever came of it."""

    __slots__ = ("_asked", "_body", "_core", "_entry", "_head", "_host")

    def __init__(self, core: Core, host: Host, head: RequestHead, body: bytes) -> None:
        self._core, self._host, self._head, self._body = core, host, head, body
        self._asked: Asked | None = None
        self._entry: Entry | None = None

    def begin(self, who: ApiKey | None, asked: Asked) -> None:
        """Ask to be let in. Raises ``Refusal``."""
        self._asked = asked
        self._core.tables.route(asked.model)
        if who is not None and not may_use(who, asked.model):
            raise refusal_of(model_refused(who, asked.model))
        now = monotonic()
        timeout_s = timeout_of(self._head.timeout) if self._head.timeout else asked.timeout_s
        entry = Entry(
            self._core.next_ticket(),
            asked.model,
            arrived=now,
            tokens=asked.prompt_bytes // 4,
            key=who,
            max_tokens=asked.max_tokens,
            deadline=None if timeout_s is None else now + timeout_s,
        )
        go = self._core.gate.ask(self, entry, now)
        self._entry = entry
        if go is None:
            self._host.limit(NEVER)  # the gate looks after its time
        else:
            self._fly(go)

    def admitted(self, go: Go) -> None:
        """Called by the gate when it was held."""
        try:
            self._fly(go)
        except Refusal as refusal:
            self._host.refuse(refusal)
        except Exception:
            log.exception("a request could not be served")
            self._host.refuse(failed())

    def _fly(self, go: Go) -> None:
        asked, body = self._asked, self._body
        assert asked is not None, "a request is read before it is let in"
        if asked.timeout or go.max_tokens is not None:
            body = with_fields(body, asked, max_tokens=go.max_tokens)
        flight = Flight(self._core, self._host, self._head, body, asked, model=go.model, note=_note(go))
        self._host.fly(flight)

    def refused(self, refused: Refused) -> None:
        self._entry = None
        self._host.refuse(refusal_of(refused))

    def over(self, ending: Ending) -> None:
        """It was answered, failed, or its client has left."""
        entry, self._entry = self._entry, None
        if entry is None:
            return
        now = monotonic()
        if not self._core.gate.leave(entry, now):
            self._core.gate.ended(entry, now, ending)


def _note(go: Go) -> bytes:
    """What a brown-out has done, as a line of the answer's head."""
    if go is GO:
        return b""
    notes = [f"model={go.model}"] if go.model else []
    if go.max_tokens is not None:
        notes.append(f"max_tokens={go.max_tokens}")
    return f"x-ampacity-brown-out: {', '.join(notes)}\r\n".encode() if notes else b""

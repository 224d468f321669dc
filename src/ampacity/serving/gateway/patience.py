"""How long a request waits for its engine, and what is done when that has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answers import Refusal
from .hedge import Hedge
from .upstream import Upstream

if TYPE_CHECKING:
    from .flight import Flight

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


def watch(flight: Flight, upstream: Upstream, now: float) -> None:
    """A limit on the engine's silence has passed: has it said anything since the last look?"""
    engine = upstream.engine
    if upstream.body_bytes != flight.seen_bytes:
        flight.seen_bytes = upstream.body_bytes
        flight.patience_until = now + STALL_LIMIT_S
    elif engine.health.silent and flight.has_other(engine.id):
        flight.abandon("it answers neither this request nor probes")
        return
    elif now >= flight.patience_until:
        _lose(flight)
        return
    elif flight.hedges and not upstream.body_bytes and flight.hedge is None:
        Hedge.begin(flight, flight.core, flight.route, flight.tried | {engine.id})
    flight.client.limit(now + SUSPECT_LIMIT_S if engine.health.silent else flight.patience_until)


def _lose(flight: Flight) -> None:
    if flight.begun or flight.answer is not None:
        flight.abandon(f"it was silent for {STALL_LIMIT_S:g} s")
        return
    if flight.falls_back():
        return
    flight.leave()
    message = f"The replica did not answer within {FIRST_BYTE_LIMIT_S:g} s."
    flight.client.refuse(Refusal(504, message, code="timeout"))

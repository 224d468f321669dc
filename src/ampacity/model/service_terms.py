"""On which terms a service serves: what it costs, and what is done when more is asked for than it can answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MILLION = 1_000_000


class Routing(StrEnum):
    """How the gateway chooses among a service's replicas."""

    LEAST_LOADED = "least_loaded"
    ROUND_ROBIN = "round_robin"
    SESSION = "session"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Money for a million tokens, in any one currency. ``cached_input`` ``None`` = as any input."""

    input: float = 0.0
    output: float = 0.0
    cached_input: float | None = None

    def of(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """What an answer costs. ``cached_tokens`` are some of the ``input_tokens``."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = max(0, input_tokens - cached_tokens)
        return (fresh * self.input + cached_tokens * cached + output_tokens * self.output) / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class BrownOut:
    """Once a request would wait ``after_s``, its answer is cut to ``max_tokens``, or another ``model`` answers it.
    ``None`` and empty = not that."""

    after_s: float
    max_tokens: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """``max_wait_s``: who would stand in line for longer is refused at once."""

    max_wait_s: float = 30.0
    brown_out: BrownOut | None = None

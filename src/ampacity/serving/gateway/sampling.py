"""Whose trace a request belongs to, and whether it is recorded.

Sources: https://www.w3.org/TR/trace-context/ and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ (``OTEL_TRACES_SAMPLER``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
_RATIOS = {"always_on": 1.0, "always_off": 0.0}
_RATIO = "traceidratio"
_BY_PARENT = "parentbased_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """``traceparent`` as it came. ``sampled``: whoever asked records this trace."""

    trace_id: int
    span_id: int
    sampled: bool


def parent_of(traceparent: bytes) -> Parent | None:
    """``None``: none was given, or none that can be read."""
    found = _PARENT.fullmatch(traceparent)
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5] is not None):
        return None
    trace, span = int(found[2], 16), int(found[3], 16)
    return Parent(trace_id=trace, span_id=span, sampled=bool(int(found[4], 16) & _SAMPLED)) if trace and span else None


def traceparent(trace_id: int, span_id: int) -> bytes:
    """Of a trace that is recorded."""
    return b"00-%032x-%016x-01" % (trace_id, span_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """``by_parent``: what the caller has decided holds. ``ratio``: of the others so many parts are recorded."""

    by_parent: bool = True
    ratio: float = 1.0

    def takes(self, trace_id: int, parent: Parent | None) -> bool:
        """By the trace's lower 8 bytes, so that all who see a trace decide alike."""
        if parent is not None and self.by_parent:
            return parent.sampled
        return trace_id & (1 << 64) - 1 < self.ratio * (1 << 64)


def sampler_of(environ: Mapping[str, str]) -> Sampler:
    """What is not understood is logged, and all is recorded."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip() or f"{_BY_PARENT}always_on"
    by_parent = name.startswith(_BY_PARENT)
    kind = name.removeprefix(_BY_PARENT)
    if kind in _RATIOS:
        return Sampler(by_parent=by_parent, ratio=_RATIOS[kind])
    argument = environ.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        if kind == _RATIO and 0.0 <= (ratio := float(argument)) <= 1.0:
            return Sampler(by_parent=by_parent, ratio=ratio)
    except ValueError:
        pass  # said below
    log.warning("OTEL_TRACES_SAMPLER %r with %r is not known here: all is recorded", name, argument)
    return Sampler()

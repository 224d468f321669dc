"""Metrics as text: Prometheus's format 0.0.4, and OpenMetrics 1.0.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Family:
    """All series of one name. ``bare``: a counter that has always been known without ``_total`` (DCGM's)."""

    name: str
    kind: Kind
    help: str
    bare: bool = False
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)

    def add(self, value: float | None, labels: Mapping[str, str], suffix: str = "") -> None:
        """One sample; none when the value is not known. Labels without a value are left out."""
        if value is not None and not math.isnan(value):
            self.samples.append((suffix, tuple((key, text) for key, text in labels.items() if text), value))


class Histogram:
    """Counts observations by their size. One thread observes; what another one reads may be one observation old."""

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = (*bounds, math.inf)
        self._counts = [0] * len(self.bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        for place, bound in enumerate(self.bounds):
            if value <= bound:
                self._counts[place] += 1
                break
        self._sum += value

    def add_to(self, family: Family, labels: Mapping[str, str]) -> None:
        counts, total = list(self._counts), 0
        for bound, count in zip(self.bounds, counts, strict=True):
            total += count
            family.add(total, {**labels, "le": "+Inf" if math.isinf(bound) else repr(float(bound))}, "_bucket")
        family.add(self._sum, labels, "_sum")
        family.add(total, labels, "_count")


def exposition(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """The text of all families that have a sample."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        counter = family.kind is Kind.COUNTER
        total = "_total" if counter and not family.bare else ""
        name = family.name if openmetrics else family.name + total
        kind = "unknown" if openmetrics and family.bare and counter else family.kind.value
        lines.append(f"# HELP {name} {_escaped_help(family.help, openmetrics)}")
        lines.append(f"# TYPE {name} {kind}")
        for suffix, labels, value in family.samples:
            lines.append(f"{family.name}{total}{suffix}{_labels(labels)} {number(value)}")
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode() if lines else b""


def number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _escaped_help(text: str, openmetrics: bool) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if openmetrics else escaped

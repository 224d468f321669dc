"""What every span says of itself, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

Attribute = str | int | float | bool


class SpanKind(StrEnum):
    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


class Span(Protocol):
    """Times in seconds since the epoch. Ids as W3C Trace Context has them: 16 and 8 bytes, never zero."""

    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...
    @property
    def parent_id(self) -> int | None: ...
    @property
    def kind(self) -> SpanKind: ...
    @property
    def name(self) -> str: ...
    @property
    def began_at(self) -> float: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def failed(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, Attribute]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedSpan:
    """One whose ids came from elsewhere, or by chance. Fulfils :class:`Span`."""

    trace_id: int
    span_id: int
    parent_id: int | None
    kind: SpanKind
    name: str
    began_at: float
    ended_at: float
    failed: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

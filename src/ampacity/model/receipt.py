"""Receipts of writes: what was answered, so that a write that is asked for again is not done again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """``digest`` tells requests apart that go by one ``key``; ``answer`` is the caller's own. ``at``: seconds since the
    epoch."""

    key: str
    digest: str
    answer: bytes
    at: float

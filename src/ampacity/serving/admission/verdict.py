"""What admission answers to a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It is not let in: the HTTP status, OpenAI's code for it, and one sentence or two for people.

    ``retry_after_s``: when it may be worth asking again; ``None`` = not by waiting.
    """

    status: int
    code: str
    message: str
    retry_after_s: float | None = None

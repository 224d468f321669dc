"""When requests come, and how large they are: drawn at random, or read from a trace."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ampacity.model.errors import InvalidSpec, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """``at``: seconds from the beginning. Lengths in tokens."""

    at: float
    input_tokens: int
    output_tokens: int


def poisson(rate: float, *, seed: int, input_tokens: int, output_tokens: int) -> Iterator[Arrival]:
    """Without end, ``rate`` a second in the mean, with exponential pauses between them."""
    draw, now = random.Random(seed), 0.0
    while True:
        now += draw.expovariate(rate)
        yield Arrival(at=now, input_tokens=input_tokens, output_tokens=output_tokens)


def from_trace(path: Path, *, speed: float = 1.0) -> Iterator[Arrival]:
    """The arrivals of a trace: lines of JSON with ``timestamp`` (ms) or ``at`` (s), ``input_length`` and
    ``output_length`` (tokens), gzipped or not; in the order of time. The first one comes at once.

    Raises:
        InvalidSpec: a line is none; says which.
        OSError: it cannot be read.
    """
    first: float | None = None
    before = 0.0
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            at, given, made = _fields(line, Where(file=str(path), line=number))
            first = at if first is None else first
            now = (at - first) / speed
            if now < before:
                raise InvalidSpec(
                    "The time goes back.", where=Where(file=str(path), line=number), hint="Sort the trace by time."
                )
            before = now
            yield Arrival(at=now, input_tokens=given, output_tokens=made)


def _fields(line: str, where: Where) -> tuple[float, int, int]:
    hint = 'Such as {"timestamp": 27482, "input_length": 6955, "output_length": 52}.'
    try:
        plain: Any = json.loads(line)
        at = float(plain["timestamp"]) / 1000 if "timestamp" in plain else float(plain["at"])
        given, made = int(plain["input_length"]), int(plain["output_length"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidSpec(f"This is no request: {error!r}.", where=where, hint=hint) from None
    if not 0 <= at < 1e12 or given < 0 or made < 0:
        raise InvalidSpec("Times and lengths are not negative.", where=where, hint=hint)
    return at, given, made


_TEXT = """
a all an and are as at be been but by for from had has have he her his if in is it its more no not of on one or out said
she so than that the their them there they this to up was we were what when which who will with would you
"""
WORDS = tuple(_TEXT.split())


def prompt_of(tokens: int, draw: random.Random) -> str:
    """Words without sense, about so many tokens, different each time."""
    return " ".join(draw.choices(WORDS, k=max(1, tokens)))

"""Which of several models a request goes to: by weights, and always the same one for the same seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import xxhash

from ampacity.model.route import Share

_RANGE = 2.0**64


def seed_of(text: bytes) -> int:
    """A number for whatever a choice shall follow: a session, a key, a request's id."""
    return xxhash.xxh3_64_intdigest(text)


def pick(shares: Sequence[Share], seed: int) -> str:
    """Weighted rendezvous hashing: when a weight changes or a model goes, only so many seeds move as have to. At least
    one share has a weight above 0."""
    open_ = [share for share in shares if share.weight > 0]
    return max(open_, key=lambda share: log(_draw(share.model, seed)) / share.weight).model


def is_within(percent: float, salt: str, seed: int) -> bool:
    """Whether this seed is one of so many per cent."""
    return _draw(salt, seed) * 100.0 <= percent


def _draw(name: str, seed: int) -> float:
    """Above 0, and 1 at most."""
    return (xxhash.xxh3_64_intdigest(name.encode(), seed) + 1) / _RANGE

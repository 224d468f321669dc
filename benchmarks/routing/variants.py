"""The same trace, changed: other loads, other numbers of nodes, fewer conversations, arrivals spread out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulate import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    name: str
    nodes: int
    change: Callable[[Sequence[Request], random.Random], list[Request]]

    def of(self, trace: Sequence[Request], seed: int) -> list[Request]:
        return sorted(self.change(trace, random.Random(seed)), key=lambda each: each.timestamp)


def stretched(factor: float) -> Callable[[Sequence[Request], random.Random], list[Request]]:
    return lambda trace, _: [moved(each, each.timestamp * factor) for each in trace]


def spread(trace: Sequence[Request], draw: random.Random) -> list[Request]:
    """Published timestamps come in steps of 3 s; real arrivals do not."""
    return [moved(each, each.timestamp + draw.random() * 3000.0) for each in trace]


def thinned(share: float) -> Callable[[Sequence[Request], random.Random], list[Request]]:
    """So many of the conversations (by their second block, the first that tells them apart), each as a whole."""

    def change(trace: Sequence[Request], draw: random.Random) -> list[Request]:
        kept: dict[int, bool] = {}
        return [
            each
            for each in trace
            if kept.setdefault(each.hash_ids[1] if each.hash_ids[1:] else -1, draw.random() < share)
        ]

    return change


def moved(request: Request, timestamp: float) -> Request:
    return Request(timestamp, request.input_length, request.output_length, request.hash_ids)


VARIANTS = (
    Variant(name="nodes_4", nodes=4, change=stretched(2.0)),
    Variant(name="nodes_16", nodes=16, change=stretched(0.5)),
    Variant(name="load_minus_20", nodes=8, change=stretched(1.2)),
    Variant(name="load_plus_5", nodes=8, change=stretched(0.95)),
    Variant(name="spread", nodes=8, change=spread),
    Variant(name="half", nodes=4, change=thinned(0.5)),
    Variant(name="three_quarters", nodes=8, change=thinned(0.75)),
)

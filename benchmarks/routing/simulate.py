"""The prefill nodes of the experiment: one prompt at a time, a cache of blocks, the least recently used out first."""

from __future__ import annotations

import gzip
import heapq
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ampacity.serving.routing import Engine, EngineId, PrefillCost, Router, Ticket, TicketId

BLOCK_TOKENS = 512
NODE_BLOCKS = 5859
"""3 million tokens."""


class Request(msgspec.Struct):
    """A line of a Mooncake trace; ``timestamp`` in ms."""

    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int]


def read_trace(path: Path) -> list[Request]:
    with gzip.open(path) as lines:
        return sorted((msgspec.json.decode(line, type=Request) for line in lines), key=lambda each: each.timestamp)


def cost_at(flops: float) -> PrefillCost:
    """A dense model of 70 B parameters, hidden size 8192, 80 layers, at so many operations a second."""
    return PrefillCost(linear_s=2 * 70e9 / flops, quadratic_s=2 * 8192 * 80 / flops)


class Node:
    """What is bound there is served first in, first out."""

    def __init__(self) -> None:
        self.free_at = 0.0
        self._cache: OrderedDict[int, None] = OrderedDict()

    def bind(self, request: Request, cost: PrefillCost, now: float) -> tuple[float, float]:
        """When its prefill is done, and how long it takes. The blocks enter the cache at once."""
        match = 0
        while match < len(request.hash_ids) and request.hash_ids[match] in self._cache:
            match += 1
        seconds = cost.of(request.input_length, min(BLOCK_TOKENS * match, request.input_length - 1))
        self.free_at = max(self.free_at, now) + seconds
        for block in request.hash_ids:
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) > NODE_BLOCKS:
            self._cache.popitem(last=False)
        return self.free_at, seconds


@dataclass
class Outcome:
    """``ttft_s`` in the order of the trace. ``router_s``: the time spent in the router, by request."""

    ttft_s: list[float]
    work_s: float = 0.0
    router_s: list[float] = field(default_factory=list)

    @property
    def mean_s(self) -> float:
        return sum(self.ttft_s) / len(self.ttft_s)

    def quantile_s(self, share: float) -> float:
        ordered = sorted(self.ttft_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Run:
    """One router over one trace. The router is told of arrivals when they come, and of first tokens; nothing else."""

    def __init__(self, router: Router, trace: Sequence[Request], *, nodes: int, cost: PrefillCost) -> None:
        self._router, self._trace, self._cost = router, trace, cost
        self._nodes = {EngineId(f"node-{number}"): Node() for number in range(nodes)}
        self._events: list[tuple[float, int]] = []  # (when, which request's prefill is done)
        self._outcome = Outcome(ttft_s=[-1.0] * len(trace), router_s=[0.0] * len(trace))
        router.set_engines([Engine(id=node) for node in self._nodes], 0.0)

    def go(self) -> Outcome:
        position = 0
        while position < len(self._trace) or self._events:
            now = min(
                self._events[0][0] if self._events else float("inf"),
                self._trace[position].timestamp / 1000 if position < len(self._trace) else float("inf"),
            )
            self._finish(now)
            position = self._arrive(position, now)
            self._release(now)
        missing = sum(1 for ttft in self._outcome.ttft_s if ttft < 0)
        if missing:
            raise RuntimeError(f"the router never bound {missing} requests")
        return self._outcome

    def _finish(self, now: float) -> None:
        while self._events and self._events[0][0] <= now:
            _, number = heapq.heappop(self._events)
            began = time.thread_time()
            self._router.answered(TicketId(number), now)
            self._router.ended(TicketId(number), now)
            self._outcome.router_s[number] += time.thread_time() - began

    def _arrive(self, position: int, now: float) -> int:
        while position < len(self._trace) and self._trace[position].timestamp / 1000 <= now:
            request = self._trace[position]
            ticket = Ticket(TicketId(position), arrived=now, tokens=request.input_length, blocks=request.hash_ids)
            began = time.thread_time()
            engine = self._router.offer(ticket, now)
            self._outcome.router_s[position] += time.thread_time() - began
            if engine is not None:
                self._bind(position, engine, now)
            position += 1
        return position

    def _release(self, now: float) -> None:
        began = time.thread_time()
        released = self._router.released(now)
        spent = time.thread_time() - began
        for ticket, engine in released:
            self._outcome.router_s[ticket.id] += spent / len(released)
            self._bind(ticket.id, engine, now)

    def _bind(self, number: int, engine: EngineId, now: float) -> None:
        request = self._trace[number]
        done, seconds = self._nodes[engine].bind(request, self._cost, now)
        self._outcome.ttft_s[number] = done - request.timestamp / 1000
        self._outcome.work_s += seconds
        heapq.heappush(self._events, (done, number))

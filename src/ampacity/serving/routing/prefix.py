"""Prefix: late binding by what each engine has cached, what a prefill costs, and what that does to all others.

A ticket's place is where its prefill ends soonest, and on top of it:

- work that another engine would not have to do delays others: it counts half again (``EXTRA``);
- an engine on which conversations live that will soon come back is a bad place for a long prefill: they would wait, or
  compute their prefix anew elsewhere (claims);
- a conversation that begins is better off where few long prefills run (``BLOCKED``).

Held tickets are looked at in the order of ``order.py`` and planned together by ``plan.py``. Since all is counted in
seconds of prefill, a first block that all prompts share draws nobody anywhere. Why it is so, and what was tried:
docs/decisions/0012-late-binding-by-prefixes.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter

from .base import Engine, EngineId, Report, Router, Ticket, TicketId
from .blocks import BLOCK_TOKENS
from .bound import Bound
from .caches import Caches
from .cost import PrefillCost
from .order import AGEING, FirstCome
from .plan import Job, starts
from .slots import MEMORY_S, Slots

EXTRA = 0.5
RETURNS = 0.4
"""The share of prompts that a longer one follows."""

BLOCKED = 0.3
PLENTY = 8
"""With so many engines open a ticket need not wait for what comes at the same moment: there is one for each."""

MOST_SPECIAL = 8
"""So many engines beside the likely ones are looked at for a ticket."""

_NONE = [(0, 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs between places, not between traces.

    ``block_tokens``: tokens in a block of a ticket's hashes. ``lead_s``: an engine takes another ticket while it has
    less unanswered prefill than this (0: one at a time). ``instant_s``: a ticket whose prefill is shorter is bound as
    it arrives, since no order could gain it more. ``learn``: each engine's speed is learned from its answers.
    ``engine_blocks`` and ``most_blocks`` bound the index for an engine and in all.
    """

    block_tokens: int = BLOCK_TOKENS
    cost: PrefillCost = field(default_factory=PrefillCost)
    lead_s: float = 0.1
    instant_s: float = 0.02
    learn: bool = True
    engine_blocks: int = 8192
    most_blocks: int = 262_144


class _Held:
    """A ticket that waits.

    ``special``: what its prefill costs by the model on the engines that differ from the rest.
    """

    __slots__ = ("common_s", "key", "special", "ticket", "until")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.common_s = 0.0
        self.special: dict[int, float] = {}
        self.key = (0, 0.0, 0)
        self.until = 0.0

    def rank(self, least_s: float) -> None:
        """Its place in the order, by its shortest prefill. ``until``: when it arrived, less that prefill."""
        ticket = self.ticket
        self.key = (-ticket.priority, least_s + AGEING * ticket.arrived, ticket.id)
        self.until = ticket.arrived - least_s


_by_key = attrgetter("key")


class Prefix(Router):
    """Fulfils :class:`ampacity.serving.routing.base.Router`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._block_s = self._settings.cost.linear_s * self._settings.block_tokens
        self._caches = Caches(
            engine_blocks=self._settings.engine_blocks, most_blocks=self._settings.most_blocks, memory_s=MEMORY_S
        )
        self._slots = Slots(lead_s=self._settings.lead_s, learn=self._settings.learn)
        self._first_come = FirstCome()
        self._bound: dict[TicketId, Bound] = {}
        self._held: dict[TicketId, _Held] = {}
        self._stale = False  # whether the held tickets have to be planned again
        self._awaited: dict[int, float] = {}  # seconds of prefill that wait for an engine

    @property
    def index_blocks(self) -> int:
        """Entries of the index over all engines."""
        return self._caches.blocks

    def set_engines(self, engines: Iterable[Engine], now: float) -> None:
        for slot in self._slots.set_engines(engines, now):
            self._caches.clear(slot)
        self._caches.resize(len(self._slots))
        for held in self._held.values():
            self._price(held)
        self._stale = True

    def offer(self, ticket: Ticket, now: float) -> EngineId | None:
        held, slots = _Held(ticket), self._slots
        least_s = self._price(held)
        self._first_come.arrived(least_s, slots.present, now)
        if slots.opens >= PLENTY or slots.any_unknown or least_s < self._settings.instant_s:
            engine = self._at_once(held, now)
            if engine is not None:
                return engine
        else:
            self._stale = True
        self._held[ticket.id] = held
        return None

    def released(self, now: float) -> list[tuple[Ticket, EngineId]]:
        news: list[tuple[Ticket, EngineId]] = []
        likely = self._slots.likely(now)
        while self._held and self._slots.opens and (self._stale or self._slots.any_change):
            free: dict[int, float] = {}
            awaited: dict[int, float] = {}
            found = starts(self._jobs(likely, free, now), free, now + self._settings.lead_s, awaited)
            for id, slot in found:
                if not self._slots.takes(slot):
                    break  # it is full by now
                held = self._held.pop(TicketId(id))
                news.append((held.ticket, self._bind(held, slot, now)))
                if self._changed(slot):
                    break  # what was planned behind it is planned anew
            if not found:
                self._stale, self._awaited = False, awaited
                break
            likely = self._slots.likely(now)
        return news

    def adopt(self, ticket: Ticket, engine: EngineId, now: float) -> None:
        bound = self._bound[ticket.id] = self._slots.adopt(ticket, engine, now)
        if bound.state.slot is not None:
            self._caches.enter(bound.state.slot, ticket.blocks, now)
        self._stale = True

    def answered(self, id: TicketId, now: float) -> None:
        bound = self._bound.get(id)
        if bound is not None:
            self._slots.answered(bound, now)
            self._touched(bound.state.slot)

    def ended(self, id: TicketId, now: float, *, cached_tokens: int | None = None, failed: bool = False) -> None:
        bound = self._bound.pop(id, None)
        if bound is None:
            return
        self._slots.ended(bound, now, failed=failed)
        slot = bound.state.slot
        self._touched(slot)
        if slot is not None and cached_tokens is not None and not failed:
            reported = -(-cached_tokens // self._settings.block_tokens)
            self._caches.correct(slot, expected=bound.depth, reported=reported)

    def withdrawn(self, id: TicketId, now: float) -> None:
        if self._held.pop(id, None) is not None:
            self._stale = True

    def report(self, engine: EngineId, report: Report, now: float) -> None:
        self._slots.report(engine, report)

    def next_wake(self, now: float) -> float | None:
        return self._slots.next_change(now) if self._held else None

    def _touched(self, slot: int | None) -> None:
        """Who waits for another engine will still: this one is free when it was thought to be."""
        if slot in self._awaited:
            self._stale = True

    def _model_s(self, ticket: Ticket, depth: int) -> float:
        tokens = max(1, ticket.tokens)
        return self._settings.cost.of(tokens, min(depth * self._settings.block_tokens, tokens - 1))

    def _price(self, held: _Held) -> float:
        """What its prefill costs everywhere; the least of it. Most engines share one match, often the first block."""
        levels = self._caches.levels(held.ticket.blocks)
        depth, most = max(levels, key=lambda level: level[1].bit_count()) if len(levels) > 1 else (levels or _NONE)[0]
        held.common_s, held.special = self._model_s(held.ticket, depth), {}
        for depth, who in levels:
            if who == most:
                continue
            model_s = self._model_s(held.ticket, depth)
            while who:
                bit = who & -who
                held.special[bit.bit_length() - 1] = model_s
                who ^= bit
        return self._rank(held)

    def _rank(self, held: _Held) -> float:
        slots = self._slots
        least_s = held.common_s * slots.least_factor
        for slot, model_s in held.special.items():
            least_s = min(least_s, model_s * slots.factors[slot])
        held.rank(least_s)
        return least_s

    def _places(self, held: _Held, likely: Sequence[int], now: float) -> Sequence[int]:
        """The engines to choose from: the likely ones, and those that have more of its prompt than most."""
        special = held.special
        if special and len(likely) < self._slots.present:
            further = [slot for slot in special if slot not in likely]
            if len(further) > MOST_SPECIAL:
                further.sort(key=lambda slot: self._slots.at(slot, now) + special[slot])
            likely = [*likely, *further[:MOST_SPECIAL]]
        if held.ticket.excluded:
            excluded = self._slots.numbers(held.ticket.excluded)
            likely = [slot for slot in likely if slot not in excluded]
        return likely

    def _burdens(self, held: _Held, places: Sequence[int], fade: float) -> tuple[list[float], list[float]]:
        """What its prefill takes in these places by the model, and what it costs there in all."""
        special, common_s = held.special, held.common_s
        models_s = [special.get(slot, common_s) for slot in places] if special else [common_s] * len(places)
        burdens = self._slots.burdens(
            places,
            models_s,
            base=1.0 + EXTRA,
            returns=RETURNS * fade,
            blocked=BLOCKED * RETURNS * fade,
            most_s=BLOCKED * RETURNS * self._block_s * len(held.ticket.blocks),
        )
        return models_s, burdens

    def _job(self, held: _Held, places: Sequence[int], fade: float, *, fixed: bool = False) -> Job:
        models_s, burdens = self._burdens(held, places, fade)
        factors = self._slots.factors
        costs = [model_s * factors[slot] for slot, model_s in zip(places, models_s, strict=True)]
        return Job(held.ticket.id, places, costs, burdens, fixed=fixed)

    def _at_once(self, held: _Held, now: float) -> EngineId | None:
        """Bind it to its best engine when that one is open; else it waits for that one, behind those who do already."""
        slots, awaited = self._slots, self._awaited
        places = self._places(held, slots.likely(now), now)
        if not places:
            return None
        models_s, burdens = self._burdens(held, places, slots.fade(now))
        ends = [
            slots.done_at(slot, now) + awaited.get(slot, 0.0) + burden
            for slot, burden in zip(places, burdens, strict=True)
        ]
        best = ends.index(min(ends))
        slot = places[best]
        if slot in awaited or not slots.takes(slot):
            awaited[slot] = awaited.get(slot, 0.0) + models_s[best] * slots.factors[slot]
            return None
        return self._bind(held, slot, now)

    def _jobs(self, likely: Sequence[int], free: dict[int, float], now: float) -> Iterator[Job]:
        """The held tickets in their order; those that no engine may take are left out."""
        slots, fade, late = self._slots, self._slots.fade(now), now - self._first_come.bound_s
        first = sorted([held for held in self._held.values() if held.until <= late], key=attrgetter("until"))
        then = sorted([held for held in self._held.values() if held.until > late], key=_by_key)
        for number, held in enumerate([*first, *then]):
            places = self._places(held, likely, now)
            for slot in places:
                if slot not in free:
                    free[slot] = slots.at(slot, now)
            if held.ticket.excluded and all(free[slot] == inf for slot in places):
                continue
            yield self._job(held, places, fade, fixed=number < len(first))

    def _bind(self, held: _Held, slot: int, now: float) -> EngineId:
        ticket = held.ticket
        depth = self._caches.depth(slot, ticket.blocks)
        gained = self._caches.enter(slot, ticket.blocks, now)
        bound = self._slots.bind(
            ticket,
            slot,
            model_s=held.special.get(slot, held.common_s),
            claims_s=gained * self._block_s,
            depth=depth,
            now=now,
        )
        self._bound[ticket.id] = bound
        self._touched(slot)
        return bound.state.member.engine.id

    def _changed(self, slot: int) -> bool:
        """Price the held tickets anew on an engine whose cache has changed; whether any is cheaper there now."""
        cheaper = False
        for held in self._held.values():
            model_s = self._model_s(held.ticket, self._caches.depth(slot, held.ticket.blocks))
            was_s = held.special.get(slot, held.common_s)
            if model_s != was_s:
                held.special[slot] = model_s
                self._rank(held)
                cheaper = cheaper or model_s < was_s
        return cheaper

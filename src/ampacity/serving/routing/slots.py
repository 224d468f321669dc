"""The engines of a late-binding router as numbered slots: when each is free, how fast it is, who lives there."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from math import exp, inf

from .base import Engine, EngineId, Report, Ticket
from .bound import Bound, State
from .member import Member

MEMORY_S = 300.0
"""How quickly claims and long prefills are forgotten: conversations come back after two to five minutes, or not."""

ANSWERING = 0.1
"""Each answer under way makes a prefill on the same engine take so much longer; it also parts equal engines."""

ASIDE = 1e6
"""An engine that failed is chosen only when all others are closed to the ticket: its burden is that of many days."""

GUESSED_S = 0.1
"""What a prefill is thought to take where none was seen."""

FEW = 16
"""Up to so many engines all are looked at for each ticket."""

LIKELY_OPEN, LIKELY_BUSY = 6, 4

LEAST_TIDIED = 64

_LONGEST_EXPONENT = 60.0
_JUST_AFTER_S = 1e-6


class Slots:
    """``factors[n]``: how much longer prefills take on engine n than the model says."""

    def __init__(self, *, lead_s: float, learn: bool) -> None:
        self._lead_s, self._learn = lead_s, learn
        self._states: list[State | None] = []
        self._number: dict[EngineId, int] = {}
        self._present: list[int] = []
        self._open: list[tuple[float, int]] = []  # sorted by claims: those that take another prefill now
        self._busy: list[tuple[float, int]] = []  # sorted by when they are free
        self._away: dict[EngineId, State] = {}  # gone, with tickets that have not ended
        self._answering: list[int] = []
        self._claims: list[float] = []
        self._blocked: list[float] = []
        self._foreign_s: list[float] = []
        self._aside_s: list[float] = []
        self._epoch = 0.0  # claims and blocked are kept as they would count at this time
        self._aside: set[int] = set()
        self._unknown: set[int] = set()  # whose speed was never seen
        self._presumed: list[tuple[float, int, Bound]] = []  # those whose prefill nobody will report, by its end
        self._tidy_at = LEAST_TIDIED
        self.factors: list[float] = []
        self.least_factor = 1.0

    def __len__(self) -> int:
        return len(self._states)

    @property
    def present(self) -> int:
        return len(self._present)

    @property
    def opens(self) -> int:
        """How many take another prefill now."""
        return len(self._open)

    @property
    def any_change(self) -> bool:
        """Whether some open or close by time alone."""
        return bool(self._aside or self._presumed)

    @property
    def any_unknown(self) -> bool:
        """Whether the speed of some was never seen: those are open whatever they have to do."""
        return bool(self._unknown)

    def set_engines(self, engines: Iterable[Engine], now: float) -> list[int]:
        """From now on these are all. The slots that belong to another engine than before, or to none."""
        wanted = {engine.id: engine for engine in engines}
        gone = [slot for id, slot in self._number.items() if id not in wanted]
        for slot in gone:
            self._leave(slot)
        self._number = {id: slot for id, slot in self._number.items() if id in wanted}
        for engine in wanted.values():
            if engine.id in self._number:
                state = self._state(self._number[engine.id])
                state.member.engine = engine
                self._set_factor(state)
            else:
                self._number[engine.id] = self._join(engine, now)
        self._present = sorted(self._number.values())
        for slot in self._present:
            self._show(self._state(slot))
        return gone

    def numbers(self, engines: Iterable[EngineId]) -> list[int]:
        return [self._number[engine] for engine in engines if engine in self._number]

    def takes(self, slot: int) -> bool:
        """Whether it takes another prefill now."""
        place = self._state(slot).place
        return place is not None and place[0]

    def at(self, slot: int, now: float) -> float:
        """When it can begin another prefill: within the lead of now if it is open; infinite: not at all."""
        state = self._states[slot]
        if state is None or state.place is None:
            return inf
        open_, until = state.place[0], state.busy_until
        if open_:
            return min(max(until, now), now + self._lead_s)
        return max(until, now + self._lead_s + _JUST_AFTER_S)

    def done_at(self, slot: int, now: float) -> float:
        """When it is through with what it has, open or not; infinite: it takes nothing."""
        state = self._states[slot]
        return inf if state is None or state.place is None else max(state.busy_until, now)

    def likely(self, now: float) -> Sequence[int]:
        """Where a prompt that is cached nowhere may go: all while they are few, else the open engines with the fewest
        claims and the ones that are soonest free.
        """
        if self._aside:
            self._forgive(now)
        while self._presumed and self._presumed[0][0] <= now:
            self._presume(heapq.heappop(self._presumed)[2], now)
        if len(self._present) <= FEW:
            return self._present
        return [slot for _, slot in self._open[:LIKELY_OPEN]] + [slot for _, slot in self._busy[:LIKELY_BUSY]]

    def fade(self, now: float) -> float:
        """What claims and blocked count now, a second of memory."""
        return exp((self._epoch - now) / MEMORY_S) / MEMORY_S

    def burdens(
        self,
        slots: Sequence[int],
        models_s: Sequence[float],
        *,
        base: float,
        returns: float,
        blocked: float,
        most_s: float,
    ) -> list[float]:
        """What a prefill costs in these places, its effect on others counted, in seconds.

        ``models_s``: the prefill by the model. A second of it counts ``base``, and keeps waiting those that come back
        within it: claims (seconds of prefill that they save) x ``returns``. ``blocked``: the weight of the long
        prefills that will keep waiting whoever comes back here, ``most_s`` at most.
        """
        claims, answering, factors = self._claims, self._answering, self.factors
        long_s, aside_s, foreign_s = self._blocked, self._aside_s, self._foreign_s
        return [
            model * factors[n] * (base + returns * claims[n] + ANSWERING * answering[n])
            + (wait if (wait := blocked * long_s[n]) < most_s else most_s)
            + foreign_s[n]
            + aside_s[n]
            for n, model in zip(slots, models_s, strict=True)
        ]

    def bind(self, ticket: Ticket, slot: int, *, model_s: float, claims_s: float, depth: int, now: float) -> Bound:
        state, cost_s = self._state(slot), model_s * self.factors[slot]
        state.member.in_flight += 1
        state.pending[ticket.id] = cost_s
        state.work_s += cost_s
        state.busy_until = max(state.busy_until, now) + cost_s
        grown = self._grown(now)
        self._claims[slot] += claims_s * grown
        self._blocked[slot] += cost_s * cost_s / 2.0 * grown
        self._show(self._state(slot))
        bound = Bound(ticket, state, model_s=model_s, cost_s=cost_s, depth=depth, at=now)
        if not ticket.streams:
            if len(self._presumed) >= self._tidy_at:
                self._tidy()
            heapq.heappush(self._presumed, (state.busy_until, ticket.id, bound))
        return bound

    def _tidy(self) -> None:
        """Forget the presumed ends of prefills that are known to be done: there may be many for each that is not."""
        self._presumed = [each for each in self._presumed if each[1] in each[2].state.pending]
        heapq.heapify(self._presumed)
        self._tidy_at = max(LEAST_TIDIED, 2 * len(self._presumed))

    def adopt(self, ticket: Ticket, engine: EngineId, now: float) -> Bound:
        """It is there already, and nothing is known of what is left of its prefill."""
        slot = self._number.get(engine)
        if slot is not None:
            return self.bind(ticket, slot, model_s=0.0, claims_s=0.0, depth=0, now=now)
        state = self._away.setdefault(engine, State(Member(Engine(id=engine)), now))
        state.member.in_flight += 1
        state.pending[ticket.id] = 0.0
        return Bound(ticket, state, model_s=0.0, cost_s=0.0, depth=0, at=now)

    def answered(self, bound: Bound, now: float) -> None:
        state = bound.state
        state.member.restore()
        if state.pending.pop(bound.id, None) is None:
            return
        took_s = now - max(bound.at, state.answered_at)
        if self._learn and (bound.streams or (state.speed.known and took_s < bound.cost_s)):
            state.speed.saw(took_s, bound.model_s)  # a whole answer that came sooner was prefilled sooner, too
            self._set_factor(state)
            if state.slot is not None:
                self._unknown.discard(state.slot)
        state.answered_at = now
        state.answering += 1
        self._less_work(bound, now)

    def ended(self, bound: Bound, now: float, *, failed: bool) -> None:
        state = bound.state
        state.member.in_flight -= 1
        if failed:
            state.member.set_aside(now)
            if state.slot is not None:
                self._aside.add(state.slot)
                self._aside_s[state.slot] = ASIDE
        else:
            state.member.served += 1
        if state.pending.pop(bound.id, None) is None:
            state.answering -= 1
            self._show(state)
        else:
            self._less_work(bound, now)
        if state.slot is None and not state.member.in_flight:
            self._away.pop(state.member.engine.id, None)

    def report(self, engine: EngineId, report: Report) -> None:
        """Others may use the engine too: what waits there beyond what was sent there counts a mean prefill each."""
        slot = self._number.get(engine)
        if slot is not None and report.waiting is not None:
            state = self._state(slot)
            self._foreign_s[slot] = max(0, report.waiting - len(state.pending)) * (state.speed.mean_s or GUESSED_S)

    def next_change(self, now: float) -> float | None:
        """When one opens without any call: its time aside is over, or a prefill that nobody will report."""
        times = [self._state(slot).member.aside_until for slot in self._aside]
        times += [due for due, _, _ in self._presumed[:1]]
        return min((each for each in times if each > now), default=None)

    def _presume(self, bound: Bound, now: float) -> None:
        """Its prefill should be done by now."""
        state = bound.state
        if state.pending.pop(bound.id, None) is not None:
            state.answering += 1
            self._less_work(bound, now)

    def _state(self, slot: int) -> State:
        state = self._states[slot]
        assert state is not None, f"slot {slot} is empty"
        return state

    def _join(self, engine: Engine, now: float) -> int:
        if None in self._states:
            slot = self._states.index(None)
        else:
            slot = len(self._states)
            self._states.append(None)
            for floats in (self._claims, self._blocked, self._foreign_s, self._aside_s, self.factors):
                floats.append(0.0)
            self._answering.append(0)
        state = self._away.pop(engine.id, None) or State(Member(engine), now)
        state.member.engine, state.slot = engine, slot
        self._states[slot] = state
        self._claims[slot] = self._blocked[slot] = self._foreign_s[slot] = self._aside_s[slot] = 0.0
        self._set_factor(state)
        if self._learn and not state.speed.known:
            self._unknown.add(slot)
        return slot

    def _leave(self, slot: int) -> None:
        state = self._state(slot)
        self._take_out(state)
        state.slot, self._states[slot] = None, None
        self._aside.discard(slot)
        self._unknown.discard(slot)
        if state.member.in_flight:
            self._away[state.member.engine.id] = state

    def _set_factor(self, state: State) -> None:
        factor = state.speed.factor / state.member.engine.weight
        if state.slot is not None and factor != self.factors[state.slot]:
            self.factors[state.slot] = factor
            self.least_factor = min(
                each for each, taken in zip(self.factors, self._states, strict=True) if taken is not None
            )

    def _less_work(self, bound: Bound, now: float) -> None:
        state = bound.state
        state.work_s = state.work_s - bound.cost_s if state.pending else 0.0
        state.busy_until = now + state.work_s
        self._show(state)

    def _show(self, state: State) -> None:
        """Put it where it belongs: among the open ones, the busy ones, or, when it is full, nowhere."""
        slot = state.slot
        if slot is None:
            return
        self._answering[slot] = state.answering
        if state.member.full:
            self._take_out(state)
            return
        # nobody waits by a guess
        open_ = slot in self._unknown or state.work_s < (self._lead_s or _JUST_AFTER_S)
        entry = ((self._claims[slot] if open_ else state.busy_until) + self._aside_s[slot], slot)
        if state.place == (open_, entry):
            return
        self._take_out(state)
        insort(self._open if open_ else self._busy, entry)
        state.place = (open_, entry)

    def _take_out(self, state: State) -> None:
        if state.place is not None:
            open_, entry = state.place
            line = self._open if open_ else self._busy
            del line[bisect_left(line, entry)]
            state.place = None

    def _forgive(self, now: float) -> None:
        for slot in [slot for slot in self._aside if self._state(slot).member.aside_until <= now]:
            self._aside.discard(slot)
            self._aside_s[slot] = 0.0
            self._show(self._state(slot))

    def _grown(self, now: float) -> float:
        """What a second of now counts at the epoch; the epoch moves on before that becomes too large."""
        exponent = (now - self._epoch) / MEMORY_S
        if exponent > _LONGEST_EXPONENT:
            faded = exp(-exponent)
            self._claims = [each * faded for each in self._claims]
            self._blocked = [each * faded for each in self._blocked]
            self._epoch, exponent = now, 0.0
            for slot in self._present:
                if self._state(slot).place is not None:
                    self._show(self._state(slot))
        return exp(exponent)

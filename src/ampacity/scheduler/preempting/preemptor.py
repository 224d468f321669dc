"""The stage *preempt*: for one that finds no room, look who may have to give way, and promise it their places."""

from __future__ import annotations

from dataclasses import dataclass, field

from ampacity.model.plan import Promise, Resize, Stop, Wait
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.resources import ResourceRequest

from ..board import Board
from ..columns import Ints
from ..order import Shape, Want
from ..place import alternatives, place, placements
from ..promises import wait_for
from ..queues.purse import Purse
from ..state import State
from .ahead import Ahead
from .choose import Choice, Chooser
from .claims import Claim, may_shrink, may_stop, say_claim
from .cost import cost_of
from .credit import Credit
from .pieces import Rules, Taken, places_of
from .rows import promising, reclaimable
from .runners import Held, Runner

LOOKED_AT = 3
"""So many of those that find no room are looked at in each plan, the first of them, and as many of the others in turn:
from one second to the next the following ones. So a plan stays short, and nobody is forgotten."""

TRIES, HELPED = 1, 4
"""For so many somebody is looked for in one plan, and so many get a promise. Where there may be more, another plan
follows at once. In every other second the first of them are passed over, each time some more: so those for whom it is
in vain do not keep it from the others."""

LARGE = 20_000
"""Nodes and attempts together from which on a plan does no more than that. In a smaller cluster, where each look costs
less, it does so many times more as the cluster is smaller: then no further plans are needed to look at the others."""


@dataclass(slots=True)
class Preemptor:
    """Asked, in their turn, for those that find no room. What it decides adds up.

    Attributes:
        shapes: how many different ones wait at most.
        next_at: when somebody whom nothing could be taken for may be helped, though nothing happens until then.
    """

    state: State
    board: Board
    purse: Purse
    now: float
    policy: PreemptionPolicy
    shapes: int
    stops: list[Stop] = field(default_factory=list)
    resizes: list[Resize] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    next_at: float | None = None
    _ahead: Ahead = field(init=False)
    _rows: dict[ResourceRequest, list[int] | None] = field(default_factory=dict)
    _reclaimable: dict[frozenset[Claim], Ints] = field(default_factory=dict)
    _held_by: dict[Claim, list[tuple[Claim, Held]]] = field(default_factory=dict)
    _hopeless: set[tuple[Shape, Claim]] = field(default_factory=set)
    _hopes: int = 0
    _asked: int = 0
    _looked_far: bool = False
    _times: int = field(init=False)

    def __post_init__(self) -> None:
        self._ahead = Ahead(self.state, self.board, self.purse)
        self._times = max(1, LARGE // (1 + len(self.state.fleet.row_of) + len(self.state.attempts)))

    def help(self, want: Want) -> bool:
        """Whether it will get places that somebody leaves. They are kept for it from now on."""
        claim = Claim.of(want.spec)
        held = self._held(claim)
        may_reclaim = bool(self.state.shares.tree.queues) and self.policy.enabled
        if (want.shape, claim) in self._hopeless or not (held or may_reclaim) or not self._is_its_turn():
            return False
        credit = Credit.of(want, self._ahead.purse())
        owing = [each for each in self.state.runners.held.items() if credit.debtor(each[0]) is not None]
        promise = self._promise(want, claim, [*held, *owing], credit) if held or owing else None
        if promise is None:
            self._hopeless.add((want.shape, claim))
            return False
        for spot in promise.placements:
            self.board.take_place(spot, want.workload.id)
        self.purse.take(want.spec.queue, self.purse.amounts(promise.placements))
        self.promises.append(promise)
        also = [runner.attempt for runner in self._on(promise) or self._ahead.last]
        self.waits.append(wait_for(self.state, want, promise.placements, self.now, also))
        return True

    def _is_its_turn(self) -> bool:
        """Whether the next one is looked at in this plan."""
        looked_at = LOOKED_AT * self._times
        place = self._asked - looked_at
        self._asked += 1
        if len(self.promises) >= HELPED * self._times:
            self._again(self.now)
            return False
        if place < 0 or place // looked_at == int(self.now) % self._turns:
            return True
        self._again(self.now if self.promises else self.now + 1.0)
        return False

    @property
    def _turns(self) -> int:
        """After so many seconds all have been looked at: an odd number, so each in odd seconds and in even ones."""
        return (1 + self.shapes // (LOOKED_AT * self._times)) | 1

    def _is_tried(self) -> bool:
        """Whether somebody is looked for in this plan, for the next one that there may be hope for."""
        tries, second = TRIES * self._times, int(self.now)
        lots = -(-max(1, min(self.shapes, 2 * LOOKED_AT * self._times)) // tries)
        begin = tries * (second // (2 * self._turns) % lots) if second % 2 else 0
        place = self._hopes - begin
        self._hopes += 1
        if 0 <= place < tries:
            return True
        self._again(self.now if self.promises else self.now + 1.0)
        return False

    def _again(self, at: float) -> None:
        """Plan again then, though nothing happens."""
        self.next_at = at if self.next_at is None else min(at, self.next_at)

    def _held(self, claim: Claim) -> list[tuple[Claim, Held]]:
        """What is held by those from whom something may be taken for this claim."""
        if not self.policy.enabled:
            return []
        found = self._held_by.get(claim)
        if found is None:
            held = self.state.runners.held
            found = self._held_by[claim] = [
                (other, each)
                for other, each in held.items()
                if may_stop(claim, other) or (each.elastic and may_shrink(claim, other))
            ]
        return found

    def _on(self, promise: Promise) -> list[Runner]:
        """Of those who were only now chosen, those that are on the promised places, by id."""
        nodes, chosen = {place.node for place in promise.placements}, self._ahead.chosen
        held = self.state.fleet.held
        ids = {id for node in nodes for id, _ in held.get(node, ()) if id in chosen}
        return [chosen[id] for id in sorted(ids)]

    def _promise(self, want: Want, claim: Claim, held: list[tuple[Claim, Held]], credit: Credit) -> Promise | None:
        hopes = [each for each in alternatives(want.spec.resources) if self._promising(want, each, held)]
        if not hopes:
            return None
        fits = place(self._ahead.board(), want.shape, want.spread) if self._ahead.differs else None
        if fits is None or credit.bar(Taken(), fits) is not None:
            if not self._is_tried():
                return None
            found = [choice for each in hopes if (choice := self._choose(want, each, claim, held, credit)) is not None]
            if not found:
                return None
            choice = min(found, key=lambda choice: choice.price)
            self._take(choice, want, claim, credit)
            fits = choice.fits
        elif not self._ahead.gives_way:
            return None
        return Promise(workload=want.workload.id, replica=want.replica.index, placements=placements(fits))

    def _promising(self, want: Want, request: ResourceRequest, held: list[tuple[Claim, Held]]) -> bool:
        board = self._ahead.board() if self._ahead.differs else self.board
        claims, parts = frozenset(claim for claim, _ in held), [each for _, each in held]
        if claims not in self._reclaimable:
            self._reclaimable[claims] = reclaimable(self.board, self.state.runners, parts)
        rows = promising(
            board,
            self._reclaimable[claims],
            parts,
            self._ahead.chosen.values(),
            want.gang,
            request,
        )
        self._rows[request] = rows
        return rows is not None

    def _choose(
        self, want: Want, request: ResourceRequest, claim: Claim, held: list[tuple[Claim, Held]], credit: Credit
    ) -> Choice | None:
        among_neighbours = want.gang.rules.topology is not None or want.gang.name is not None
        chooser = Chooser(
            board=self._ahead.board() if self._ahead.differs else self.board,
            held=[each for _, each in held],
            rules=self._rules(claim, [each for each, _ in held], credit),
            want=want,
            credit=credit,
            all_of_a_rank=among_neighbours and not self._looked_far,
        )
        self._looked_far |= among_neighbours
        return chooser.choose(request, self._rows[request] or [])

    def _rules(self, claim: Claim, others: list[Claim], credit: Credit) -> Rules:
        """Those that owe come before those of its own queue; each by their rank."""

        def order(other: Claim) -> tuple[int, tuple[int, int]]:
            debtor = credit.debtor(other)
            return (len(credit.debtors) if debtor is None else credit.debtors[debtor]), other.rank

        def may_go(runner: Runner, taken: Taken) -> bool:
            workload = runner.attempt.workload
            left = self.state.runners.replicas[workload] - self._ahead.gone[workload] - taken.replicas[workload]
            allowed = may_stop(claim, runner.claim) or credit.owes(runner, taken)
            return allowed and left > runner.spec.giving_way.keep_replicas

        stops = [each for each in others if credit.debtor(each) is not None or may_stop(claim, each)]
        levels = {level: place for place, level in enumerate(sorted({order(each) for each in stops}))}
        return Rules(
            shrinks={each for each in others if credit.debtor(each) is not None or may_shrink(claim, each)},
            stops={each: levels[order(each)] for each in stops},
            cost=lambda runner: cost_of(runner, self.now, self.policy.restart_s),
            may_stop=may_go,
            is_held=self._is_held,
        )

    def _is_held(self, runner: Runner) -> bool:
        """Whoever had to leave a place before keeps this one for a while; who was chosen already is on its way."""
        if runner.attempt.id in self._ahead.chosen:
            return True
        until = runner.attempt.placed_at + self.policy.floor_s
        if not runner.preempted or self.now >= until:
            return False
        self._again(until)
        return True

    def _take(self, choice: Choice, want: Want, claim: Claim, credit: Credit) -> None:
        """Have them leave, who were chosen."""
        taken, name = choice.taken, f"{want.workload.name} ({want.workload.id})"
        self._ahead.choose(taken)
        for id in sorted(taken.stopped):
            runner = taken.stopped[id]
            why = say_claim(claim, runner.claim, credit.debtor(runner.claim))
            reason = f"makes room for {name}: {why}"
            self.stops.append(Stop(attempt=id, reason=reason, grace_s=runner.spec.grace_s, checkpoint_first=True))
        for id in sorted(taken.shrunk):
            nodes = taken.shrunk[id]
            runner = next(iter(nodes.values()))
            left = tuple(spot for spot in places_of(runner.attempt) if spot.node not in nodes)
            reason = f"goes on with {len(left)} of {len(runner.attempt.members)} nodes: makes room for {name}"
            self.resizes.append(Resize(attempt=id, placements=left, reason=reason))

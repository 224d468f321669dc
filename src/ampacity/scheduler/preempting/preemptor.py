"""The stage *preempt*: for one that finds no room, look who may have to give way, and promise it their places."""

from __future__ import annotations

from dataclasses import dataclass, field

from ampacity.model.ids import AttemptId, WorkloadId
from ampacity.model.plan import Promise, Resize, Stop, Wait
from ampacity.model.preemption import PreemptionPolicy

from ..board import Board
from ..order import Shape, Want
from ..place import alternatives, place, placements
from ..promises import wait_for
from ..queues.purse import Purse
from ..state import State
from .choose import Choice, Chooser
from .claims import Claim, may_shrink, may_stop, say_claim
from .cost import cost_of
from .leaving import leave
from .pieces import Rules, Taken, places_of
from .runners import Held, Runner

TRIES = 8
"""So many that find no room are looked at in one plan; the others are in the next, once those have their places."""


@dataclass(slots=True)
class Preemptor:
    """Asked, in their turn, for those that find no room. What it decides adds up.

    Attributes:
        next_at: when somebody whom nothing could be taken for may be helped, though nothing happens until then.
    """

    state: State
    board: Board
    purse: Purse
    now: float
    policy: PreemptionPolicy
    stops: list[Stop] = field(default_factory=list)
    resizes: list[Resize] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    next_at: float | None = None
    _chosen: dict[AttemptId, Runner] = field(default_factory=dict)
    _freed: Taken = field(default_factory=Taken)
    _hopeless: set[tuple[Shape, Claim]] = field(default_factory=set)
    _tries: int = 0

    def help(self, want: Want) -> bool:
        """Whether it will get places that somebody leaves. They are kept for it from now on."""
        claim = Claim.of(want.spec)
        if not self.policy.enabled or (want.shape, claim) in self._hopeless:
            return False
        held = self._held(claim)
        promise = self._promise(want, claim, held) if held or self._gives_way() else None
        if promise is None:
            self._hopeless.add((want.shape, claim))
            return False
        for spot in promise.placements:
            self.board.take_place(spot, want.workload.id)
        self.purse.take(want.spec.queue, self.purse.amounts(promise.placements))
        self.promises.append(promise)
        also = [self._chosen[id].attempt for id in sorted(self._chosen)]
        self.waits.append(wait_for(self.state, want, promise.placements, self.now, also))
        return True

    def _held(self, claim: Claim) -> list[tuple[Claim, Held]]:
        """What is held by those from whom something may be taken for this claim."""
        return [
            (other, held)
            for other, held in self.state.runners.held.items()
            if may_stop(claim, other) or (held.elastic and may_shrink(claim, other))
        ]

    def _gives_way(self) -> bool:
        """Whether anybody is leaving for the sake of others."""
        return bool(self._chosen) or any(
            attempt.stop is not None and attempt.stop.preempts for attempt in self.state.runners.leaving.values()
        )

    def _promise(self, want: Want, claim: Claim, held: list[tuple[Claim, Held]]) -> Promise | None:
        mark = self.board.mark()
        for attempt in self.state.runners.leaving.values():
            leave(self.board, attempt)
        self._freed.leave(self.board)
        fits = place(self.board, want.shape)
        choice = None
        if fits is None and held and self._tries < TRIES:
            self._tries += 1
            choice = self._choose(want, claim, held)
            fits = None if choice is None else choice.fits
        elif fits is not None and not self._gives_way():
            fits = None
        self.board.rollback(mark)
        if choice is not None:
            self._take(choice, want, claim)
        if fits is None:
            return None
        return Promise(workload=want.workload.id, replica=want.replica.index, placements=placements(fits))

    def _choose(self, want: Want, claim: Claim, held: list[tuple[Claim, Held]]) -> Choice | None:
        ranks = sorted({other.rank for other, _ in held if may_stop(claim, other)})
        rules = Rules(
            claim=claim,
            ranks={rank: level for level, rank in enumerate(ranks)},
            cost=lambda runner: cost_of(runner, self.now, self.policy.restart_s),
            left=self._left,
            is_held=self._is_held,
        )
        chooser = Chooser(
            board=self.board, runners=self.state.runners, held=[each for _, each in held], rules=rules, want=want
        )
        found = [choice for each in alternatives(want.spec.resources) if (choice := chooser.choose(each)) is not None]
        return min(found, key=lambda choice: choice.price) if found else None

    def _left(self, workload: WorkloadId, taken: Taken) -> int:
        gone = (*self._freed.stopped.values(), *taken.stopped.values())
        return self.state.runners.replicas[workload] - sum(each.attempt.workload == workload for each in gone)

    def _is_held(self, runner: Runner) -> bool:
        """Whoever had to leave a place before keeps this one for a while; who was chosen already is on its way."""
        if runner.attempt.id in self._chosen:
            return True
        until = runner.attempt.placed_at + self.policy.floor_s
        if not runner.preempted or self.now >= until:
            return False
        self.next_at = until if self.next_at is None else min(self.next_at, until)
        return True

    def _take(self, choice: Choice, want: Want, claim: Claim) -> None:
        """Have them leave, who were chosen."""
        taken, name = choice.taken, f"{want.workload.name} ({want.workload.id})"
        for id in sorted(taken.stopped):
            runner = taken.stopped[id]
            reason = f"makes room for {name}: {say_claim(claim, runner.claim)}"
            stop = Stop(attempt=id, reason=reason, grace_s=runner.spec.grace_s, checkpoint_first=True)
            self.stops.append(stop)
            self._chosen[id] = runner
        for id in sorted(taken.shrunk):
            nodes = taken.shrunk[id]
            runner = next(iter(nodes.values()))
            left = tuple(spot for spot in places_of(runner.attempt) if spot.node not in nodes)
            reason = f"goes on with {len(left)} of {len(runner.attempt.members)} nodes: makes room for {name}"
            self.resizes.append(Resize(attempt=id, placements=left, reason=reason))
            self._chosen[id] = runner
        self._freed.stopped |= taken.stopped
        self._freed.shrunk |= taken.shrunk

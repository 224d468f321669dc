"""Moving jobs that have saved their state to make a larger room whole, where that spares more than it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ampacity.model.plan import Move, Placement, Promise, Reservation
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.resources import WHOLE_MILLI, Range

from ..board import Board
from ..order import Want
from ..place import alternatives, place, placements
from ..queues.purse import Purse
from ..state import State
from .choose import Choice, Chooser
from .cost import CPUS_PER_DEVICE, cost_of
from .credit import Credit
from .pieces import Rules, Taken
from .rows import promising, reclaimable
from .runners import Runner


@dataclass(slots=True)
class Defragmenting:
    """Moves for those that have places held for later: only they have a wait that is known.

    It is asked at the end of a plan, and takes on the board what it decides.
    """

    state: State
    board: Board
    purse: Purse
    now: float
    policy: PreemptionPolicy
    moves: list[Move] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)

    def serve(self, reservations: Iterable[Reservation]) -> None:
        """For each of them in turn, if this is wanted at all."""
        for held in reservations if self.policy.defragment else ():
            wants = [each for each in self.state.wants(held.workload) if each.replica.index == held.replica]
            if wants and held.placements:
                self._serve(wants[0], held.from_s - self.now)

    def _serve(self, want: Want, wait_s: float) -> None:
        spares, gain = _weight(want) * wait_s, self.policy.defragment_gain
        choice = self._choice(want, spares)
        if choice is None or not choice.taken.stopped or choice.price[1] * gain > spares:
            return
        spots = placements(choice.fits)
        mark = self.board.mark()
        for spot in spots:
            self.board.take_place(spot, want.workload.id)
        moved = self._elsewhere(choice.taken)
        if moved is None:
            self.board.rollback(mark)
            return
        name = f"{want.workload.name} ({want.workload.id})"
        for runner, places in moved:
            reason = f"moves to {', '.join(place.node for place in places)}: so {name} need not wait {wait_s:.0f} s"
            self.moves.append(Move(attempt=runner.attempt.id, placements=places, reason=reason))
        self.purse.take(want.spec.queue, self.purse.amounts(spots))
        self.promises.append(Promise(workload=want.workload.id, replica=want.replica.index, placements=spots))

    def _choice(self, want: Want, spares: float) -> Choice | None:
        """The cheapest to move, whatever their claim: they lose no place."""
        held = self.state.runners.held
        credit = Credit.of(want, self.purse)
        rules = Rules(
            shrinks=(),
            stops=dict.fromkeys(held, 0),
            cost=self._cost,
            may_stop=lambda runner, _: self._cost(runner) * self.policy.defragment_gain <= spares,
            is_held=self._is_held,
        )
        for request in alternatives(want.spec.resources):
            reclaimed = reclaimable(self.board, self.state.runners, list(held.values()))
            rows = promising(self.board, reclaimed, list(held.values()), (), want.gang, request)
            chooser = Chooser(
                board=self.board,
                held=list(held.values()),
                rules=rules,
                want=want,
                credit=credit,
                all_of_a_rank=False,
            )
            choice = None if rows is None else chooser.choose(request, rows)
            if choice is not None:
                return choice
        return None

    def _elsewhere(self, taken: Taken) -> list[tuple[Runner, tuple[Placement, ...]]] | None:
        """Places that are free now for all of them, the largest first; ``None`` = there are none for one of them."""
        found = []
        ordered = sorted(taken.stopped.values(), key=lambda each: (-len(each.attempt.members), each.attempt.id))
        for runner in ordered:
            size = Range.exactly(len(runner.attempt.members))
            gang = self.state.gang(runner.attempt.workload, runner.spec, runner.spec.resources, size)
            fits = place(self.board, gang)
            if fits is None or {fit.node for fit in fits} & set(runner.attempt.nodes):
                return None
            if self.board.fleet.marked.pool(fits[0].row) is not None:
                return None  # that pool may have it wait
            for fit in fits:
                self.board.take(fit, runner.attempt.workload)
            found.append((runner, placements(fits)))
        return found

    def _cost(self, runner: Runner) -> float:
        return cost_of(runner, self.now, self.policy.restart_s)

    def _is_held(self, runner: Runner) -> bool:
        """Those that have not saved, that left a place lately, or that keep apart from others stay where they are."""
        attempt = runner.attempt
        saved = attempt.progress is not None and attempt.progress.checkpoint_step is not None
        settled = not runner.preempted or self.now >= attempt.placed_at + self.policy.floor_s
        chosen = any(move.attempt == attempt.id for move in self.moves)
        return not saved or not settled or chosen or runner.spec.rules.apart is not None


def _weight(want: Want) -> float:
    """As of one that runs: devices, or CPUs where they weigh more."""
    request, members = want.spec.resources, want.size.minimum
    wanted = request.accelerators[0] if request.accelerators else None
    devices = 0 if wanted is None else wanted.count.minimum * wanted.milli
    return members * max(devices, request.cpu_milli.minimum / CPUS_PER_DEVICE) / WHOLE_MILLI

"""What the queues allow one that waits: whose places its queue may have back, and whether it may use so much then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ampacity.model.amounts import Amounts

from ..board import Fit
from ..order import Want
from ..place import placements
from ..queues.purse import Purse, wanted
from ..queues.rules import Barred, borrowed, debtors
from .ahead import spend
from .claims import Claim
from .pieces import Taken
from .runners import Runner


@dataclass(frozen=True, slots=True)
class Credit:
    """Attributes:
    purse: what the queues use once all have left who were told to.
    debtors: the queues that hold what is the waiting one's by right, the deepest in debt first, by their place.
    """

    want: Want
    purse: Purse
    demand: Amounts
    debtors: Mapping[str, int]

    @staticmethod
    def of(want: Want, purse: Purse) -> Credit:
        shares, demand = purse.shares, wanted(want)
        owing = debtors(shares.tree, purse.used, want.spec.queue, demand) if shares.tree.queues else ()
        return Credit(want, purse, demand, {queue: place for place, queue in enumerate(owing)})

    def debtor(self, claim: Claim) -> str | None:
        """The queue of the claim, or one that it is a part of, that owes something; ``None`` = none does."""
        if not self.debtors or claim.queue == self.want.spec.queue:
            return None
        return next((name for name in self.purse.shares.tree.chain(claim.queue) if name in self.debtors), None)

    def owes(self, runner: Runner, taken: Taken) -> bool:
        """Whether its queue still holds more than its own, once what was taken is gone."""
        name = self.debtor(runner.claim)
        if name is None:
            return False
        tree, used = self.purse.shares.tree, dict(self.purse.used.get(name, {}))
        for other in taken.stopped.values():
            if name in tree.chain(other.attempt.queue):
                for resource, amount in self._held(other).items():
                    used[resource] = used.get(resource, 0) - amount
        over = borrowed(tree, {**self.purse.used, name: used}, name)
        return any(resource in over for resource in self._held(runner))

    def bar(self, taken: Taken, fits: tuple[Fit, ...] | None = None) -> Barred | None:
        """Why its queue may not use so much, though all that is gone; of its least where it has no places."""
        purse = self.purse.twin(self.purse.board)
        spend(purse, taken)
        amounts = self.demand if fits is None else purse.amounts(placements(fits))
        return purse.barred(self.want.spec.queue, amounts)

    def eases(self, runner: Runner, bar: Barred) -> bool:
        """Whether its end leaves more of what is short to the queue that is barred."""
        within = bar.queue in self.purse.shares.tree.chain(runner.attempt.queue)
        return (within or self.debtor(runner.claim) is not None) and bar.resource in self._held(runner)

    def _held(self, runner: Runner) -> Amounts:
        return {
            resource: amount
            for resource, amount in self.purse.shares.of[runner.attempt.id][1].items()
            if resource in self.demand
        }

"""How things will stand once all have left who were told to, and who a plan has chosen to leave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ampacity.model.ids import AttemptId, WorkloadId

from ..board import Board
from ..queues.purse import Purse
from ..state import State
from .leaving import leave, leaves
from .pieces import Taken, places_of
from .runners import Runner


@dataclass(slots=True)
class Ahead:
    """The board and the purse of a plan, ahead of their time.

    Attributes:
        chosen: those that this plan has chosen, to leave as a whole or in part.
        gone: of each workload, how many attempts it has chosen to stop.
    """

    state: State
    now_board: Board
    now_purse: Purse
    chosen: dict[AttemptId, Runner] = field(default_factory=dict)
    gone: Counter[WorkloadId] = field(default_factory=Counter)
    _taken: list[Taken] = field(default_factory=list)
    _board: Board | None = None
    _seen: int = 0

    @property
    def differs(self) -> bool:
        return bool(self.chosen or self.state.runners.leaving)

    @property
    def gives_way(self) -> bool:
        """Whether anybody is leaving for the sake of others."""
        leaving = self.state.runners.leaving.values()
        return bool(self.chosen) or any(each.stop is not None and each.stop.preempts for each in leaving)

    @property
    def last(self) -> list[Runner]:
        """Those that were chosen last, by id."""
        return [self._taken[-1].stopped[id] for id in sorted(self._taken[-1].stopped)] if self._taken else []

    def board(self) -> Board:
        """What is left then, less what the plan has given out so far."""
        if self._board is None:
            self._board = self.now_board.fork()
            self._seen = self.now_board.mark()
            for id in sorted(self.state.runners.leaving):
                leave(self._board, self.state.runners.leaving[id])
        self._seen = self._board.follow(self.now_board, self._seen)
        return self._board

    def purse(self) -> Purse:
        """What the queues then use."""
        purse = self.now_purse.twin(self.now_board)
        for attempt in self.state.runners.leaving.values():
            purse.give_places(attempt.queue, leaves(attempt))
        for taken in self._taken:
            spend(purse, taken)
        return purse

    def choose(self, taken: Taken) -> None:
        """These leave, too."""
        taken.leave(self.board())
        self._taken.append(taken)
        self.chosen.update(taken.stopped)
        self.gone.update(runner.attempt.workload for runner in taken.stopped.values())
        for id, nodes in taken.shrunk.items():
            self.chosen[id] = next(iter(nodes.values()))


def spend(purse: Purse, taken: Taken) -> None:
    """As if those had left."""
    for runner in taken.stopped.values():
        purse.give_places(runner.attempt.queue, places_of(runner.attempt))
    for nodes in taken.shrunk.values():
        runner = next(iter(nodes.values()))
        purse.give_places(runner.attempt.queue, [spot for spot in places_of(runner.attempt) if spot.node in nodes])

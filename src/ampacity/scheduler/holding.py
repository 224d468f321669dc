"""What attempts hold: on nodes, of queues, and beside whom. A part of the scheduler's state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId, NodeId, WorkloadId
from ampacity.model.node import Node

from .backfill.horizon import end_of
from .fleet import Fleet
from .neighbours import Neighbours
from .queues.accounts import Accounts
from .queues.shares import Shares, kinds_of

ReplicaKey = tuple[WorkloadId, int]


@dataclass(slots=True)
class Holding:
    """Kept current row by row.

    Attributes:
        attempts: those that have not ended.
        attempts_of: their ids, by replica.
        fleet: nodes, what is held there and what is left.
        neighbours: which workloads keep apart, and where they are.
        shares, accounts: what each queue and each owner in it holds. They follow from the rest.
    """

    attempts: dict[AttemptId, Attempt] = field(default_factory=dict)
    attempts_of: dict[ReplicaKey, set[AttemptId]] = field(default_factory=dict)
    fleet: Fleet = field(default_factory=Fleet)
    neighbours: Neighbours = field(default_factory=Neighbours)
    shares: Shares = field(default_factory=Shares)
    accounts: Accounts = field(default_factory=Accounts)

    def put(self, row: Attempt) -> None:
        known = self.attempts.get(row.id)
        if known is not None and not row.phase.ended and _places(known) == _places(row):
            self.attempts[row.id] = row
            if end_of(known) != end_of(row):
                self.fleet.touch(row)
            return
        self.drop(row.id)
        if not row.phase.ended:
            self._hold(row)

    def drop(self, id: AttemptId) -> WorkloadId | None:
        """It has ended, or is gone. Whose it was; ``None`` = it was not held."""
        attempt = self.attempts.pop(id, None)
        if attempt is None:
            return None
        self.fleet.release(attempt)
        self.shares.release(id)
        self.accounts.release(attempt)
        self.neighbours.release(attempt)
        key = (attempt.workload, attempt.replica)
        self.attempts_of[key].discard(id)
        if not self.attempts_of[key]:
            del self.attempts_of[key]
        return attempt.workload

    def put_node(self, row: Node) -> None:
        before = self.fleet.get(row.id)
        self.fleet.put_node(row)
        self._recount(row.id, before, row)

    def drop_node(self, id: NodeId) -> None:
        before = self.fleet.get(id)
        self.fleet.remove_node(id)
        self._recount(id, before, None)

    def _hold(self, attempt: Attempt) -> None:
        self.attempts[attempt.id] = attempt
        self.attempts_of.setdefault((attempt.workload, attempt.replica), set()).add(attempt.id)
        self.fleet.hold(attempt)
        self._count(attempt)
        self.accounts.hold(attempt)
        self.neighbours.hold(attempt)

    def _recount(self, id: NodeId, before: Node | None, now: Node | None) -> None:
        """What is held on a node is counted by the kinds of its devices as they now are."""
        if before is not None and now is not None and replace(before, version=now.version) == now:
            return
        self.shares.change_node(before, now)
        if kinds_of(before) != kinds_of(now):
            for attempt in {attempt for attempt, _ in self.fleet.held.get(id, ())}:
                self._count(self.attempts[attempt])

    def _count(self, attempt: Attempt) -> None:
        nodes = {member.node: self.fleet.get(member.node) for member in attempt.members}
        self.shares.hold(attempt, nodes)
        if attempt.id in self.accounts:
            self.accounts.hold(attempt)


def _places(attempt: Attempt) -> object:
    """What its hold on the fleet follows from."""
    return attempt.workload, attempt.replica, attempt.held

"""How things stand at the moment of a plan: who is next in each queue, and how long things will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ampacity.model.lasting import Lasting
from ampacity.model.policy import Sharing
from ampacity.model.workload import WorkloadKind

from .order import Entries, Group, QueueLine, Want
from .ordering.base import Circumstances
from .queues.accounts import fairness, tick, waiting_accounts
from .queues.heads import Head, Heads, Score, ordered_heads
from .runtimes import lasting
from .state import State

EVERYONE = ""


@dataclass(slots=True)
class Moment:
    """Reads a state as of one time. What it finds out that stays true is kept with the state.

    Attributes:
        beside: by queue, the accounts of those that may start and stand in no line, and how many there are of each.
    """

    state: State
    now: float
    beside: Mapping[str, Counter[str]] = field(default_factory=dict)
    _fairness: dict[str, dict[str, float]] = field(default_factory=dict)

    @staticmethod
    def of(state: State, now: float, others: Iterable[Want]) -> Moment:
        """``others``: who may start, and is in no group of the line."""
        beside: dict[str, Counter[str]] = {}
        for want in others:
            beside.setdefault(want.spec.queue, Counter())[want.account] += 1
        return Moment(state, now, beside)

    def heads(self, queue: str) -> Heads:
        """Those that wait in a queue, the first of each group, in order."""
        line = self.state.line.queues.get(queue)
        if line is None:
            return Heads((), self.score)
        key = (line.stamp, *self._moving(queue, line))
        known = self.state.orders.get(queue)
        if known is None or known[0] != key:
            known = self.state.orders[queue] = (key, ordered_heads(line.groups.items(), self.score))
        ordered: tuple[Head, ...] = known[1]
        return Heads(ordered, self.score)

    def score(self, group: Group, entries: Entries, position: int) -> Score:
        """How the replica at this place of a group stands. The lower goes first."""
        (major, minor, created_at, ident, index), want = entries[position]
        pull = self.state.line.order.pull(want, self._seen(group, want))
        return major, minor - pull, created_at, ident, index

    def lasting(self, want: Want) -> Lasting:
        """How long it will run."""
        return self._lasting(want.workload.kind, want.spec.max_duration_s, want.kind)

    def bound_s(self, group: Group) -> float:
        """The longest that those of a group run, as far as others may rely on it."""
        if group.limit_s is not None:
            return group.limit_s
        return self._lasting(WorkloadKind.SERVICE if group.endless else WorkloadKind.TASK, None, group.kind).bound_s

    def _lasting(self, kind: WorkloadKind, limit_s: float | None, key: str) -> Lasting:
        return lasting(kind, limit_s, self.state.runtimes, key, self.state.policy.backfill.assumed_runtime_s)

    def _seen(self, group: Group, want: Want) -> Circumstances:
        history = self.state.runtimes.get(group.kind)
        return Circumstances(
            now=self.now,
            fairness=self._fair(group),
            history=history if history is not None and history.count else None,
            expected_s=group.limit_s if group.limit_s is not None else self.lasting(want).expected_s,
        )

    def _moving(self, queue: str, line: QueueLine) -> tuple[object, ...]:
        """What the order of a queue depends on beside those who wait in it."""
        state, order = self.state, self.state.line.order
        found: list[object] = []
        if order.is_fair and len(owners := self._owners(queue)) > 1:
            found += [tick(self.now), state.accounts.stamp(self._scope(queue)), owners]
        if order.learns:
            found.append(state.learned)
        if line.dated:
            found.append(self.now)
        return tuple(found)

    def _scope(self, queue: str) -> str:
        """Whose shares an owner's are held against: those in its queue, or all where there is one line."""
        return EVERYONE if self.state.policy.sharing is Sharing.SINGLE_LINE else queue

    def _owners(self, queue: str) -> list[str]:
        lines = self.state.line.queues
        queues = {*lines, *self.beside} if self._scope(queue) == EVERYONE else {queue}
        in_line = [lines[each].owners for each in queues if each in lines]
        return waiting_accounts([*in_line, *(self.beside[each] for each in queues if each in self.beside)])

    def _fair(self, group: Group) -> float:
        if not self.state.line.order.is_fair:
            return 1.0
        scope = self._scope(group.queue)
        if scope not in self._fairness:
            self._fairness[scope] = self._fairness_in(group.queue)
        return self._fairness[scope].get(group.owner, 1.0)

    def _fairness_in(self, queue: str) -> dict[str, float]:
        owners, state = self._owners(queue), self.state
        if len(owners) < 2:
            return {}
        at = tick(self.now)
        return fairness(
            {
                owner: state.accounts.used(owner, at=at, policy=state.policy, rows=state.usage, shares=state.shares)
                for owner in owners
            }
        )

"""``Control.step(now)``: observe -> update -> plan -> commit -> act.

Nothing has to be remembered between two steps but the store's rows: whoever is killed anywhere in here is followed by
one that reads the rows and takes the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from ampacity.drivers.base import Driver
from ampacity.model.attempt import AttemptPhase, MemberFact, MemberPreparing, MemberStarted
from ampacity.model.plan import Plan
from ampacity.scheduler import plan
from ampacity.store.base import Store

from .act import Actor
from .batch import Batch
from .commit import commit
from .fencing import Fences
from .handles import Handles
from .health import next_deadline
from .jobs import jobs_to_do
from .launching import Launches
from .mirror import Mirror
from .nodes import keep_nodes, lost_nodes
from .observe import FactSource, Observation, observe
from .outcome import conclude_lost
from .pools import keep_pools
from .record import Record
from .update import apply_facts, settle_all, watch_health

NODES_EVERY_S = 5.0

_BEGAN = (MemberPreparing, MemberStarted)

POINTS = (
    "observe.done",
    "update.decided",
    "update.written",
    "update.done",
    "plan.done",
    "commit.decided",
    "commit.written",
    "commit.done",
    "act.begun",
    "act.called",
    "act.decided",
    "act.written",
    "act.done",
)
"""The named points that a step passes, in their order; those of writing only when there is something to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """``wrote``: how many events. ``next_wake``: when to step again though nothing happens. ``futile``: the step itself
    wrote nothing, and there was nothing to start or to stop."""

    wrote: int
    next_wake: float
    futile: bool


class Control:
    """The control loop's inside. One thread calls :meth:`step`; ``at`` is told each named point that a step passes;
    ``pool`` is where drivers are called, some threads of its own unless one is given.

    ``plan`` and ``nodes`` are those of the latest step; they may be read from any thread.

    ``gather_s``: so long a step is put off that would only write down that members have begun. A short job ends right
    after, and one write then holds both: it waits for the disk once less.
    """

    def __init__(
        self,
        *,
        store: Store,
        drivers: Mapping[str, Driver],
        launcher: Launches,
        sources: tuple[FactSource, ...] = (),
        followers: tuple[Callable[[Mirror], None], ...] = (),
        node_lost_after_s: float = 60.0,
        nodes_every_s: float = NODES_EVERY_S,
        wake: Callable[[], None] = lambda: None,
        at: Callable[[str], None] = lambda point: None,
        pool: Executor | None = None,
        gather_s: float = 0.0,
    ) -> None:
        self._drivers, self._sources, self._followers = drivers, sources, followers
        self._lost_after_s, self._nodes_every_s, self._at = node_lost_after_s, nodes_every_s, at
        self._actor = Actor(drivers, launcher, wake, pool=pool)
        self._fences = Fences(store)
        self._cursors = dict(store.cursors())
        self._handles = Handles()
        self._unwritten: list[MemberFact] = []
        self._look_at_nodes_at = float("-inf")
        self._record = Record(store, at)
        self._gather_s = gather_s
        self._gathering_since: float | None = None
        self._due_at = float("-inf")
        self.plan = Plan()
        self.nodes = tuple(self.mirror.rows.nodes.values())

    @property
    def mirror(self) -> Mirror:
        """The loop's own copy of the live rows."""
        return self._record.mirror

    def step(self, now: float) -> StepReport:
        """Take one step. ``now``: seconds since the epoch, never less than before.

        Raises:
            StoreError: the store cannot be read or written now. Nothing is half done; step again later.
        """
        before, written = self.mirror.rows.seq, self._record.written
        seen = self._observe(now)
        self._at("observe.done")
        until = self._puts_off(seen, now)
        if until is not None:
            return StepReport(wrote=0, next_wake=until, futile=False)
        self._update(seen, now)
        self.nodes = tuple(self.mirror.rows.nodes.values())
        self._at("update.done")
        self.plan = plan(self._record.state, now)
        self._at("plan.done")
        again = self._commit(now)
        self._at("commit.done")
        again = _earliest(again, self._act(now))
        self._at("act.done")
        self._due_at = self._next_wake(now, seen, again)
        return StepReport(
            wrote=self.mirror.rows.seq - before,
            next_wake=self._due_at,
            futile=self._record.written == written and not self.mirror.in_motion,
        )

    def close(self) -> None:
        self._actor.close()

    # The parts -----------------------------------------------------------------------------------------------------

    def _observe(self, now: float) -> Observation:
        for source in self._sources:
            self._unwritten.extend(source.facts())
        nodes = now >= self._look_at_nodes_at
        seen = observe(self._drivers, self._cursors, nodes=nodes)
        seen.facts.extend(self._unwritten)
        return seen

    def _puts_off(self, seen: Observation, now: float) -> float | None:
        """Until when nothing needs to be done, where all that is new is that members have begun. What was seen is seen
        again then: no cursor has moved."""
        began = bool(seen.facts) and all(isinstance(fact, _BEGAN) for fact in seen.facts)
        if not began or self._unwritten or self._record.is_behind():
            self._gathering_since = None
            return None
        if self._gathering_since is None:
            self._gathering_since = now
        until = min(self._gathering_since + self._gather_s, self._due_at)
        if now < until:
            return until
        self._gathering_since = None
        return None

    def _update(self, seen: Observation, now: float) -> None:
        self._record.catch_up()

        def follow(batch: Batch) -> None:
            keep_pools(batch, self.mirror, seen.nodes, seen.placing)
            keep_nodes(batch, self.mirror, seen.nodes, self._fences, lost_after_s=self._lost_after_s)
            touched = apply_facts(batch, seen.facts, self._handles)
            self._handles.write_late(batch)
            watch_health(batch, self.mirror)
            settle_all(batch, touched | batch.touched() | self.mirror.changed, self.mirror)

        self._record.write("update", follow, now, cursors=seen.cursors, settles=True)
        self._handles.drop_written(self.mirror)
        self._cursors.update(seen.cursors)
        self._unwritten.clear()
        if now >= self._look_at_nodes_at:
            self._look_at_nodes_at = now + self._nodes_every_s
        self.mirror.forget_ended()

    def _commit(self, now: float) -> float | None:
        """Write down what was planned. When to plan again if some of it no longer held."""
        given_up: list[str] = []

        def place(batch: Batch) -> None:
            given_up[:] = commit(batch, self.mirror, self.plan)
            settle_all(batch, batch.touched(), self.mirror)

        self._record.write("commit", place, now)
        return now + 1.0 if given_up else None

    def _act(self, now: float) -> float | None:
        lost = lost_nodes(self.mirror, now, self._lost_after_s)
        jobs = jobs_to_do(self.mirror, lost)
        deeds = self._actor.act(
            jobs, self._fences.left(), now, started=self._handles.keys(), begun=lambda: self._at("act.begun")
        )
        self._at("act.called")
        self._handles.add(deeds.handles, now)
        if self._fences.lift(deeds.stopped):
            self._look_at_nodes_at = now

        def tell(batch: Batch) -> None:
            touched = apply_facts(batch, deeds.refused, self._handles)
            touched |= conclude_lost(batch, self.mirror, lost, self._actor.unreachable, self._handles)
            settle_all(batch, touched, self.mirror)

        self._record.write("act", tell, now)
        for follower in self._followers:
            follower(self.mirror)
        return deeds.try_again_at

    def _next_wake(self, now: float, seen: Observation, again: float | None) -> float:
        if seen.more:
            return now
        times = [self._look_at_nodes_at, again, self.plan.next_wake, self._handles.next_at()]
        for attempt in self.mirror.served_attempts():
            if attempt.phase is AttemptPhase.RUNNING and not attempt.ready:
                spec = self.mirror.rows.specs[f"{attempt.workload}@{attempt.spec_revision}"].spec
                times.append(next_deadline(attempt, spec))
        return max(now, min(time for time in times if time is not None))


def _earliest(one: float | None, other: float | None) -> float | None:
    return min((time for time in (one, other) if time is not None), default=None)

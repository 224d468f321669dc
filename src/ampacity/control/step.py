"""``Control.step(now)``: observe -> update -> plan -> commit -> act.

Nothing has to be remembered between two steps but the store's rows: whoever is killed anywhere in here is followed by
one that reads the rows and takes the next step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ampacity.drivers.base import Driver, Handle
from ampacity.model.attempt import Attempt, AttemptPhase, MemberExited
from ampacity.model.errors import StaleVersion
from ampacity.model.event import EventKind
from ampacity.model.node import NodeCondition
from ampacity.model.plan import Plan
from ampacity.scheduler import build, plan
from ampacity.store.base import Store

from .act import Actor
from .batch import Batch
from .commit import commit
from .health import next_deadline
from .launching import Job, Launcher
from .mirror import Mirror
from .observe import FactSource, Observation, observe
from .update import apply_facts, keep_nodes, settle_all, watch_health

log = logging.getLogger(__name__)

NODES_EVERY_S = 5.0
STALE_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """``wrote``: how many events. ``next_wake``: when to step again though nothing happens."""

    wrote: int
    next_wake: float


class Control:
    """The control loop's inside. One thread calls :meth:`step`; ``at`` is told each named point that a step passes."""

    def __init__(
        self,
        *,
        store: Store,
        drivers: Mapping[str, Driver],
        launcher: Launcher,
        sources: tuple[FactSource, ...] = (),
        followers: tuple[Callable[[Mirror], None], ...] = (),
        node_lost_after_s: float = 60.0,
        wake: Callable[[], None] = lambda: None,
        at: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._store, self._drivers, self._sources, self._followers = store, drivers, sources, followers
        self._lost_after_s, self._at = node_lost_after_s, at
        self._actor = Actor(drivers, launcher, wake)
        self._nodes_seen_at = float("-inf")
        self._cursors = dict(store.cursors())
        self.plan = Plan()
        self._load()

    def _load(self) -> None:
        rows = self._store.live()
        self.mirror = Mirror(rows)
        self._state = build(rows)

    def step(self, now: float) -> StepReport:
        """Take one step. ``now``: seconds since the epoch, never less than before.

        Raises:
            StoreError: the store cannot be read or written now. Nothing is half done; step again later.
        """
        before = self.mirror.rows.seq
        seen = self._observe(now)
        self._at("observe.done")
        self._update(seen, now)
        self._at("update.done")
        self.plan = plan(self._state, now)
        self._at("plan.done")
        self._write(lambda batch: commit(batch, self.mirror, self.plan), now)
        self._at("commit.done")
        again = self._act(now)
        self._at("act.done")
        return StepReport(wrote=self.mirror.rows.seq - before, next_wake=self._next_wake(now, again))

    def close(self) -> None:
        self._actor.close()

    # The parts -----------------------------------------------------------------------------------------------------

    def _observe(self, now: float) -> Observation:
        nodes = now - self._nodes_seen_at >= NODES_EVERY_S
        seen = observe(self._drivers, self._sources, self._cursors, nodes=nodes)
        if nodes:
            self._nodes_seen_at = now
        return seen

    def _update(self, seen: Observation, now: float) -> None:
        self._catch_up()
        changed = set(self.mirror.take_changed())

        def follow(batch: Batch) -> None:
            keep_nodes(batch, self.mirror, seen.nodes, lost_after_s=self._lost_after_s)
            touched = apply_facts(batch, seen.facts)
            watch_health(batch, self.mirror)
            written = {draft.workload for draft in batch.drafts if draft.workload is not None}
            settle_all(batch, changed | touched | written | set(self.mirror.changed), self.mirror)

        self._write(follow, now, cursors=seen.cursors)
        self._cursors.update(seen.cursors)
        self._forget_ended()

    def _forget_ended(self) -> None:
        for attempt in self.mirror.rows.attempts.values():
            if attempt.phase.ended and attempt.phase is not AttemptPhase.LOST:
                self._actor.forget(attempt)
        self.mirror.forget_ended()

    def _act(self, now: float) -> float | None:
        deeds = self._actor.act(self._jobs(), now)
        self._at("act.called")
        if deeds.handles or deeds.refused:
            self._write(lambda batch: self._record(batch, deeds.handles, deeds.refused), now)
        for follower in self._followers:
            follower(self.mirror)
        return deeds.try_again_at

    def _jobs(self) -> list[Job]:
        """Live attempts, and lost ones whose node is back."""
        jobs = []
        for attempt in self.mirror.rows.attempts.values():
            if attempt.phase.ended and not self._to_fence(attempt):
                continue
            workload = self.mirror.rows.workloads[attempt.workload]
            jobs.append(
                Job(
                    workload=workload,
                    spec=self.mirror.rows.specs[f"{workload.id}@{attempt.spec_revision}"].spec,
                    replica=self.mirror.rows.replicas[f"{workload.id}.{attempt.replica}"],
                    attempt=attempt,
                    nodes=self.mirror.rows.nodes,
                )
            )
        return jobs

    def _to_fence(self, attempt: Attempt) -> bool:
        nodes = [self.mirror.rows.nodes.get(node) for node in attempt.nodes]
        back = any(node is not None and node.condition is not NodeCondition.UNKNOWN for node in nodes)
        return attempt.phase is AttemptPhase.LOST and back

    def _record(self, batch: Batch, handles: list[Handle], refused: list[MemberExited]) -> None:
        for handle in handles:
            attempt = batch.attempt(handle.key.attempt)
            if attempt is None or attempt.phase.ended:
                continue
            members = tuple(
                replace(member, handle=handle.ref) if member.index == handle.key.member else member
                for member in attempt.members
            )
            if members != attempt.members:
                text = f"started on {handle.node}"
                batch.write(EventKind.ATTEMPT_CHANGED, text, replace(attempt, members=members))
        settle_all(batch, apply_facts(batch, refused), self.mirror)

    # Writing and following -----------------------------------------------------------------------------------------

    def _write(self, fill: Callable[[Batch], None], now: float, *, cursors: Mapping[str, str] | None = None) -> None:
        """Fill a batch and append it. When somebody else wrote first: read what they wrote, and fill another."""
        for _ in range(STALE_TRIES):
            batch = Batch(self.mirror, now)
            fill(batch)
            if not batch.drafts and not cursors:
                return
            try:
                self._store.append(batch.drafts, cursors=cursors)
            except StaleVersion as error:
                log.info("written by another first, trying anew: %s", error)
                self._catch_up()
                continue
            self._at("written")
            self._catch_up()
            return
        raise StaleVersion(f"The rows were changed by others {STALE_TRIES} times in a row.")

    def _catch_up(self) -> None:
        """Apply the events that are in the store and not yet in the mirror."""
        while True:
            events = self._store.events(after=self.mirror.rows.seq, limit=1000)
            if any(event.kind is EventKind.SNAPSHOT for event in events):
                self._load()
                continue
            for event in events:
                self.mirror.apply(event)
                self._state.apply(event)
            if len(events) < 1000:
                return

    def _next_wake(self, now: float, again: float | None) -> float:
        times = [now + NODES_EVERY_S, again, self.plan.next_wake]
        for attempt in self.mirror.live_attempts():
            if attempt.phase is AttemptPhase.RUNNING and not attempt.ready:
                spec = self.mirror.rows.specs[f"{attempt.workload}@{attempt.spec_revision}"].spec
                times.append(next_deadline(attempt, spec))
        return max(now, min(time for time in times if time is not None))

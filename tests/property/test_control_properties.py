"""The control loop under any history: nodes that come and go, jobs that end anyhow, calls that fail, and crashes."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

sys.path.insert(0, str(Path(__file__).parent.parent / "unit" / "control"))
from control_bench import Bench, gang, node, service, task

from ampacity.control.step import POINTS
from ampacity.model.attempt import Attempt, Cause, CauseKind, Progress, ProgressReported
from ampacity.model.errors import DriverUnavailable, LaunchFailed
from ampacity.model.event import fold
from ampacity.model.fits import fits, free_on
from ampacity.model.node import NodeCondition
from ampacity.model.resources import Allocation, Range, ResourceRequest
from ampacity.model.workload import RetryPolicy, Wish, Workload, WorkloadKind
from ampacity.scheduler import build

CAUSES = st.sampled_from(
    [
        Cause(kind=CauseKind.COMPLETED, exit_code=0),
        Cause(kind=CauseKind.EXIT, exit_code=3),
        Cause(kind=CauseKind.SIGNAL, signal=9),
        Cause(kind=CauseKind.SUPERVISOR_DIED),
    ]
)


class Crash(BaseException):
    """Plays the end of the control plane's process."""


class Histories(RuleBasedStateMachine):
    """What the loop sees is chosen by Hypothesis; what must hold is checked after every choice."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self._folder.name), [node("n1", 3), node("n2", 2)])
        self.bench.step()
        self.silent: set[str] = set()
        self.names = self.steps = 0
        self.ended: dict[str, Attempt] = {}

    def teardown(self) -> None:
        self.bench.control.close()
        self._folder.cleanup()

    # What may happen -----------------------------------------------------------------------------------------------

    @rule(
        kind=st.sampled_from(["task", "gang", "service"]),
        cpus=st.integers(1, 2),
        retries=st.integers(0, 2),
        after_last=st.booleans(),
        priority=st.sampled_from([0, 0, 100]),
    )
    def submit(self, kind: str, cpus: int, retries: int, after_last: bool, priority: int) -> None:
        live = [row.name for row in self._live()]
        self.names += 1
        asked = ResourceRequest(cpu_milli=Range.exactly(cpus * 1000))
        after = (live[-1],) if live and after_last else ()
        make = {"task": task, "gang": gang, "service": service}[kind]
        spec = replace(make(f"w{self.names:03}", resources=asked), after=after, priority=priority)
        if kind != "service":
            spec = replace(spec, retry=RetryPolicy(maximum=retries))
        self.bench.submit(spec)

    @rule(cause=CAUSES, pick=st.integers(0, 100))
    def end(self, cause: Cause, pick: int) -> None:
        running = self.bench.driver.running()
        if running:
            self.bench.driver.crash(running[pick % len(running)], cause)
            self.bench.step()

    @rule(pick=st.integers(0, 100), saved=st.booleans())
    def report(self, pick: int, saved: bool) -> None:
        """Progress, and perhaps a new checkpoint: who has reported is asked to save before it gives way."""
        running = self.bench.driver.running()
        if running:
            self.steps += 1
            progress = Progress(at=self.bench.now, step=self.steps, checkpoint_step=self.steps if saved else None)
            key = running[pick % len(running)]
            self.bench.driver.report(ProgressReported(key=key, at=self.bench.now, progress=progress))
            self.bench.step()

    @rule(pick=st.integers(0, 100))
    def stop(self, pick: int) -> None:
        live = self._live()
        if live:
            self.bench.wish(live[pick % len(live)].id, Wish.STOP)

    @rule(pick=st.integers(0, 100), sizes=st.lists(st.integers(0, 3), min_size=1, max_size=3))
    def scale(self, pick: int, sizes: list[int]) -> None:
        services = [row for row in self._live() if row.kind is WorkloadKind.SERVICE]
        if services:
            for replicas in sizes:
                self.bench.wish(services[pick % len(services)].id, replicas=replicas)

    def _live(self) -> list[Workload]:
        rows = self.bench.store.live().workloads.values()
        return sorted((row for row in rows if not row.phase.ended), key=lambda row: row.name)

    @rule(name=st.sampled_from(["n1", "n2"]))
    def silence_or_return(self, name: str) -> None:
        if name in self.silent:
            self.bench.driver.return_(name)
        else:
            self.bench.driver.silence(name)
        self.silent ^= {name}
        self.bench.pass_time(6.0)

    @rule(seconds=st.sampled_from([0.5, 5.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.bench.pass_time(seconds)

    @rule(
        call=st.sampled_from(["ensure_started", "ensure_stopped", "facts", "nodes"]),
        after=st.booleans(),
        fatal=st.booleans(),
    )
    def fail_calls(self, call: str, after: bool, fatal: bool) -> None:
        error = LaunchFailed("no") if fatal and call == "ensure_started" and not after else DriverUnavailable("away")
        self.bench.driver.fail(call, error, times=2, after=after)

    @rule(point=st.sampled_from(POINTS))
    def crash(self, point: str) -> None:
        """The process ends at the point, if it comes there; another one goes on with what the store knows."""
        self.bench.control.close()

        def at(passed: str) -> None:
            if passed == point:
                raise Crash

        self.bench.begin(at=at)
        with suppress(Crash):
            self.bench.control.step(self.bench.now)
        self.bench.control.close()
        self.bench.begin()
        self.bench.step()

    @precondition(lambda self: self.bench.driver.double_facts is False)
    @rule()
    def double_facts(self) -> None:
        self.bench.driver.double_facts = True

    # What must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def rows_are_what_the_events_amount_to(self) -> None:
        rows = self.bench.store.rows()
        assert fold(self.bench.store.events(limit=1_000_000), self.bench.store.base()) == rows

    @invariant()
    def the_loops_copies_are_equal_to_the_store(self) -> None:
        live = self.bench.store.live()
        mirrored = self.bench.control.mirror.rows
        for key, row in mirrored.workloads.items():
            assert live.workloads.get(key, row) == row
        assert mirrored.nodes == live.nodes
        assert self.bench.control._record.state == build(live)

    @invariant()
    def nothing_is_overcommitted_or_doubled(self) -> None:
        rows = self.bench.store.rows()
        held: dict[str, list[Allocation]] = {}
        live: Counter[tuple[str, int]] = Counter()
        for attempt in rows.attempts.values():
            if not attempt.phase.ended:
                live[attempt.workload, attempt.replica] += 1
                for member in attempt.members:
                    held.setdefault(member.node, []).append(member.allocation)
        assert all(count == 1 for count in live.values())
        nothing = Allocation(cpu_milli=0, memory_bytes=0)
        assert all(fits(free_on(rows.nodes[name], used), nothing) for name, used in held.items())

    @invariant()
    def each_member_began_at_most_once_and_only_under_a_live_attempt(self) -> None:
        rows = self.bench.store.rows()
        assert all(count == 1 for count in self.bench.driver.starts.values())
        for key in self.bench.driver.running():
            attempt = rows.attempts[key.attempt]
            there = rows.nodes[attempt.members[key.member].node]
            assert not attempt.phase.ended or there.unknown_since is not None

    @invariant()
    def what_has_ended_has_nothing_alive_and_stays_as_it_is(self) -> None:
        rows = self.bench.store.rows()
        for attempt in rows.attempts.values():
            assert attempt.phase.ended or not rows.workloads[attempt.workload].phase.ended
        for key, attempt in self.ended.items():
            assert rows.attempts[key] == attempt
        self.ended |= {key: attempt for key, attempt in rows.attempts.items() if attempt.phase.ended}

    @precondition(lambda self: self.names > 0)
    @rule()
    def all_comes_to_an_end(self) -> None:
        """With all nodes back and nothing failing any more, everything ends once it is told to or has run."""
        bench = self.bench
        for name in sorted(self.silent):
            bench.driver.return_(name)
        self.silent = set()
        for _ in range(8):
            bench.pass_time(61.0)
        for name in ("n1", "n2"):
            assert bench.store.rows().nodes[name].condition is NodeCondition.READY
        for _ in range(60):
            rows = bench.store.live()
            live = [row for row in rows.workloads.values() if not row.phase.ended]
            if not live:
                break
            services = [row.id for row in live if row.kind is WorkloadKind.SERVICE]
            for ident in services:
                standing = bench.store.rows()
                if not standing.workloads[ident].phase.ended and standing.desired[ident].wish is Wish.RUN:
                    bench.wish(ident, Wish.STOP)
            for key in bench.driver.running():
                if key in bench.driver.running():
                    bench.driver.finish(key)
            bench.pass_time(61.0)
        assert bench.control.mirror.rows.attempts == {}
        assert bench.driver.running() == ()


Histories.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = Histories.TestCase

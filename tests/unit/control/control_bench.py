"""A control loop over the memory store and the fake driver, with a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ampacity.control.launching import Launcher
from ampacity.control.logs import Output
from ampacity.control.step import Control, StepReport
from ampacity.control.writing import Writing
from ampacity.drivers.fake import FakeDriver
from ampacity.hub import Hub
from ampacity.model.attempt import Attempt, ReadinessChanged
from ampacity.model.event import EventKind, fold
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, MemberKey, NodeId, WorkloadId
from ampacity.model.node import Node
from ampacity.model.resources import Range
from ampacity.model.workload import (
    ReadinessProbe,
    Replica,
    RetryPolicy,
    ServiceSpec,
    Wish,
    Workload,
    WorkloadKind,
    WorkloadSpec,
)
from ampacity.store.base import Store
from ampacity.store.feed import FeedStore
from ampacity.store.memory import MemoryStore


def node(name: str, cpus: int = 4) -> Node:
    return Node(id=NodeId(name), driver="fake", cpu_milli=cpus * 1000, memory_bytes=8 << 30)


def task(name: str = "job", **keys: Any) -> WorkloadSpec:
    return WorkloadSpec(name=name, kind=WorkloadKind.TASK, run="true", **keys)


def gang(name: str = "gang", nodes: int = 2, **keys: Any) -> WorkloadSpec:
    """A task over several nodes: all members are one attempt."""
    return WorkloadSpec(name=name, kind=WorkloadKind.TASK, run="true", num_nodes=Range.exactly(nodes), **keys)


def service(name: str = "svc", replicas: int = 1, maximum: int | None = None, **keys: Any) -> WorkloadSpec:
    probe = ReadinessProbe(timeout_s=30.0)
    return WorkloadSpec(
        name=name,
        kind=WorkloadKind.SERVICE,
        run="serve",
        replicas=replicas,
        retry=RetryPolicy(maximum=maximum),
        service=ServiceSpec(readiness=probe),
        **keys,
    )


class Probes:
    """Plays the readiness prober."""

    def __init__(self) -> None:
        self.waiting: list[ReadinessChanged] = []

    def facts(self) -> tuple[ReadinessChanged, ...]:
        taken, self.waiting = tuple(self.waiting), []
        return taken

    def on_wake(self, wake: Callable[[], None]) -> None:
        """The bench steps by hand."""

    def close(self) -> None:
        """Nothing to let go of."""


class Bench:
    """``step`` goes on until nothing more follows; ``pass_time`` turns the clock first."""

    def __init__(
        self,
        folder: Path,
        nodes: Iterable[Node] = (),
        *,
        store: Store | None = None,
        more: Callable[[Callable[[], float]], FakeDriver] | None = None,
    ) -> None:
        """``more``: makes another driver beside, with this clock."""
        self.now = 1000.0
        self.store = FeedStore(store or MemoryStore())
        self.driver = FakeDriver(nodes or (node("n1"), node("n2")), clock=lambda: self.now)
        self.drivers = {"fake": self.driver}
        if more is not None:
            other = more(lambda: self.now)
            self.drivers[other.name] = other
        self.hub = Hub(folder / "hub")
        self.folder = folder
        self.probes = Probes()
        self.points: list[str] = []
        self.writing = Writing(
            self.store, self.hub, folder / "checkpoints", lambda: self.now, lambda: self.control.nodes
        )
        self.output = Output(self.store, self.drivers)
        self._woken = False
        for driver in self.drivers.values():
            driver.on_wake(self._wake)
        self.control = self.begin()

    def begin(self, at: Callable[[str], None] | None = None, *, gather_s: float = 0.0) -> Control:
        """A control loop anew, as after a restart: it knows what the store knows."""
        self.control = Control(
            store=self.store,
            drivers=self.drivers,
            launcher=Launcher(self.folder, self.hub),
            sources=(self.probes,),
            node_lost_after_s=60.0,
            at=at or self.points.append,
            gather_s=gather_s,
        )
        return self.control

    def _wake(self) -> None:
        self._woken = True

    def step(self) -> StepReport:
        for _ in range(50):
            self._woken = False
            report = self.control.step(self.now)
            if not report.wrote and not self._woken and report.next_wake > self.now:
                return report
        raise AssertionError("the loop never comes to rest")

    def pass_time(self, seconds: float) -> StepReport:
        self.now += seconds
        return self.step()

    def submit(self, spec: WorkloadSpec) -> WorkloadId:
        ident = self.writing.submit(spec, project=DEFAULT_PROJECT, owner=DEFAULT_OWNER).workload.id
        self.step()
        return ident

    def wish(self, ident: WorkloadId, wish: Wish | None = None, *, replicas: int | None = None) -> None:
        self.writing.set_desired(ident, project=DEFAULT_PROJECT, by="anna", wish=wish, replicas=replicas)
        self.step()

    def finish(self, ident: WorkloadId, exit_code: int = 0) -> None:
        """Every running member of the workload exits by itself."""
        for key in [key for key in self.driver.running() if key.attempt.startswith(f"{ident}.")]:
            if key in self.driver.running():  # the end of one may have ended the others
                self.driver.finish(key, exit_code)
        self.step()

    def ready(self, key: MemberKey, ready: bool = True, detail: str = "") -> None:
        self.probes.waiting.append(ReadinessChanged(key=key, at=self.now, ready=ready, detail=detail))
        self.step()

    # Looking -------------------------------------------------------------------------------------------------------

    def workload(self, ident: WorkloadId) -> Workload:
        return self.store.rows().workloads[ident]

    def replicas(self, ident: WorkloadId) -> list[Replica]:
        found = [row for row in self.store.rows().replicas.values() if row.workload == ident]
        return sorted(found, key=lambda replica: replica.index)

    def attempts(self, ident: WorkloadId) -> list[Attempt]:
        found = [row for row in self.store.rows().attempts.values() if row.workload == ident]
        return sorted(found, key=lambda attempt: (attempt.replica, attempt.epoch))

    def last(self, ident: WorkloadId) -> Attempt:
        return self.attempts(ident)[-1]

    def texts(self, ident: WorkloadId, *kinds: EventKind) -> list[str]:
        events = self.store.events(workload=ident, limit=10_000)
        return [event.draft.text for event in events if not kinds or event.kind in kinds]

    def check(self) -> None:
        """What must hold at all times."""
        rows = self.store.rows()
        assert fold(self.store.events(limit=1_000_000), self.store.base()) == rows
        for attempt in rows.attempts.values():
            assert attempt.phase.ended or not rows.workloads[attempt.workload].phase.ended

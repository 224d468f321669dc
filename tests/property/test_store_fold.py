"""Whatever is written to whichever store: folding its events gives its rows, compacted or not."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ampacity.model.errors import NameTaken, StaleVersion
from ampacity.model.event import Draft, EventKind, Table, Touch, fold, remove
from ampacity.model.workload import WorkloadPhase
from ampacity.store import open_store
from ampacity.store.base import Store
from rows import draft, make_attempt, make_node, make_workload, submitted

NAMES = st.sampled_from(["a", "b", "c"])


class TwoStores(RuleBasedStateMachine):
    """The same history into both stores; both refuse the same, and hold the same."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.stores: list[Store] = [open_store("memory:"), open_store(str(Path(self.folder.name) / "store.db"))]
        self.numbers = 0

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.folder.cleanup()

    def write(self, *drafts: Draft) -> None:
        answers = []
        for store in self.stores:
            try:
                answers.append(store.append(drafts))
            except (StaleVersion, NameTaken) as error:
                answers.append(type(error))
        assert answers[0] == answers[1]

    @rule(name=NAMES)
    def submit(self, name: str) -> None:
        self.numbers += 1
        self.write(submitted(make_workload(name, ident=f"w{self.numbers}", created_at=float(self.numbers))))

    @rule(number=st.integers(1, 6), phase=st.sampled_from(WorkloadPhase), off=st.integers(0, 2))
    def move(self, number: int, phase: WorkloadPhase, off: int) -> None:
        standing = self.stores[0].rows().workloads.get(f"w{number}")
        if standing is not None:
            self.write(draft(replace(standing, phase=phase, version=standing.version + off), workload=standing.id))

    @rule(number=st.integers(1, 6), name=NAMES)
    def rename(self, number: int, name: str) -> None:
        standing = self.stores[0].rows().workloads.get(f"w{number}")
        if standing is not None:
            self.write(draft(replace(standing, name=name, version=standing.version + 1), workload=standing.id))

    @rule(name=NAMES, kept=st.booleans())
    def succeed_and_hand_on(self, name: str, kept: bool) -> None:
        """Two workloads in one event: the one that has the name ends, or does not, and another takes it."""
        holders = [row for row in self.stores[0].live().workloads.values() if row.name == name]
        self.numbers += 1
        heir = make_workload(name, ident=f"w{self.numbers}", created_at=float(self.numbers))
        phase = WorkloadPhase.RUNNING if kept else WorkloadPhase.FAILED
        self.write(draft(*(replace(row, phase=phase, version=row.version + 1) for row in holders), heir))

    @rule(number=st.integers(1, 6), epoch=st.integers(1, 3))
    def place(self, number: int, epoch: int) -> None:
        attempt = make_attempt(f"w{number}", epoch=epoch)
        nodes = self.stores[0].rows().nodes
        version = nodes["n1"].version + 1 if "n1" in nodes else 1
        placed = draft(attempt, kind=EventKind.ATTEMPT_PLACED, workload=f"w{number}")
        self.write(replace(placed, touches=(Touch(table=Table.NODES, key="n1", version=version),)))

    @rule(present=st.booleans())
    def node(self, present: bool) -> None:
        standing = self.stores[0].rows().nodes.get("n1")
        if present:
            self.write(draft(make_node(version=1 if standing is None else standing.version + 1)))
        elif standing is not None:
            self.write(Draft(kind=EventKind.NODE_REMOVED, at=1.0, changes=(remove(standing),)))

    @rule(part=st.floats(0, 1))
    def compact(self, part: float) -> None:
        before = int(part * self.stores[0].rows().seq)
        for store in self.stores:
            store.compact(before=before)

    @invariant()
    def the_fold_is_the_rows(self) -> None:
        if not hasattr(self, "stores"):
            return
        first, second = (store.rows() for store in self.stores)
        assert first == second
        for store in self.stores:
            assert fold(store.events(limit=10_000), store.base()) == first
        live = self.stores[0].live()
        assert live == self.stores[1].live()
        names = [(row.project, row.name) for row in live.workloads.values() if not row.phase.ended]
        assert len(names) == len(set(names))


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)

"""Pools that place by themselves: what is planned for one of their nodes runs where they say, and is known to be
there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from control_bench import Bench, gang, node, task

from ampacity.drivers.base import Launch
from ampacity.drivers.fake import FakeDriver
from ampacity.model.attempt import AttemptPhase, CauseKind
from ampacity.model.event import EventKind
from ampacity.model.ids import NodeId, PoolName, WorkloadId
from ampacity.model.node import Node, Pool
from ampacity.model.plan import Placement
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import Wish, WorkloadPhase, WorkloadSpec
from ampacity.scheduler import build

SLURM = PoolName("slurm")


@dataclass
class Decides:
    """A pool that puts its first member on its last node, and so on backwards."""

    nodes: list[NodeId]

    def __call__(self, launch: Launch) -> Placement:
        return Placement(node=self.nodes.pop(), allocation=replace(launch.allocation, memory_bytes=1 << 20))


def in_pool(name: str, cpus: int = 4) -> Node:
    return replace(node(name, cpus), pool=SLURM)


def slurm(*names: str, start_at_once: bool = True) -> Callable[[Callable[[], float]], FakeDriver]:
    def make(clock: Callable[[], float]) -> FakeDriver:
        return FakeDriver(
            [in_pool(name) for name in names],
            name="slurm",
            clock=clock,
            start_at_once=start_at_once,
            decide=Decides([NodeId(name) for name in names]),
        )

    return make


def asking(spec: WorkloadSpec, cpus: int) -> WorkloadSpec:
    return replace(spec, resources=ResourceRequest(cpu_milli=Range.exactly(cpus * 1000)))


def held(bench: Bench) -> dict[str, int]:
    """What is given out on each node, as the scheduler sees it."""
    fleet = build(bench.store.rows()).fleet
    return {id: int(fleet.cpu_total[row] - fleet.cpu_left[row]) for id, row in fleet.row_of.items()}


def test_a_pool_is_known_by_its_driver(tmp_path: Path) -> None:
    bench = Bench(tmp_path, more=slurm("s1"))
    bench.step()
    bench.step()
    assert bench.store.rows().pools == {SLURM: Pool(name=SLURM, driver="slurm", places_itself=True)}
    assert [event.draft.text for event in bench.store.events() if event.kind is EventKind.POOL_CHANGED] == [
        "the pool slurm places by itself"
    ]


def test_a_gang_runs_where_its_pool_puts_it_and_what_it_holds_goes_with_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [node("n1", 1)], more=slurm("s1", "s2", "s3"))
    bench.step()
    ident = bench.submit(asking(gang(nodes=2), 3))
    attempt = bench.last(ident)
    assert attempt.phase is AttemptPhase.RUNNING
    assert attempt.nodes == ("s3", "s2")
    assert {member.allocation.memory_bytes for member in attempt.members} == {1 << 20}
    assert held(bench) == {"n1": 0, "s1": 0, "s2": 3000, "s3": 3000}
    placed = bench.texts(ident, EventKind.ATTEMPT_PLACED)
    assert placed[0].startswith("placed on s1 (3 CPU), s2 (3 CPU); best fit: ")
    assert "; the pool slurm decides where" in placed[0]
    assert placed[-1].startswith("its pool has put it on s3 (")
    bench.check()
    for key in bench.drivers["slurm"].running():
        bench.drivers["slurm"].finish(key)
    bench.step()
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    assert set(held(bench).values()) == {0}


def test_after_a_restart_and_with_doubled_facts_it_is_where_it_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [node("n1", 1)], more=slurm("s1", "s2"))
    bench.drivers["slurm"].double_facts = True
    bench.step()
    ident = bench.submit(asking(task(), 3))
    bench.begin()
    bench.step()
    assert bench.last(ident).nodes == ("s2",)
    assert held(bench) == {"n1": 0, "s1": 0, "s2": 3000}
    assert sum(bench.drivers["slurm"].starts.values()) == 1
    bench.check()


def waiting_in_the_pool(tmp_path: Path) -> tuple[Bench, FakeDriver, WorkloadId]:
    bench = Bench(tmp_path, [node("n1", 1)], more=slurm("s1", "s2", start_at_once=False))
    driver = bench.drivers["slurm"]
    bench.step()
    ident = bench.submit(asking(task(), 3))
    assert bench.last(ident).nodes == ("s1",)
    return bench, driver, ident


def test_one_that_its_pool_has_not_begun_is_not_lost_with_the_node_that_was_thought_of(tmp_path: Path) -> None:
    bench, driver, ident = waiting_in_the_pool(tmp_path)
    driver.silence("s1")
    for _ in range(4):
        bench.pass_time(30.0)
    assert bench.last(ident).phase is AttemptPhase.PREPARING
    driver.begin(bench.last(ident).key(0))
    bench.step()
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    assert bench.last(ident).nodes == ("s2",)


def test_one_that_runs_on_a_node_of_a_pool_is_lost_with_it(tmp_path: Path) -> None:
    bench, driver, ident = waiting_in_the_pool(tmp_path)
    driver.begin(bench.last(ident).key(0))
    bench.step()
    driver.silence("s2")
    for _ in range(4):
        bench.pass_time(30.0)
    stop = bench.last(ident).stop
    assert stop is not None
    assert stop.cause is not None
    assert stop.cause.kind is CauseKind.NODE_LOST


def test_one_that_waits_in_its_pool_can_be_stopped(tmp_path: Path) -> None:
    bench, driver, ident = waiting_in_the_pool(tmp_path)
    bench.wish(ident, Wish.STOP)
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED
    assert driver.running() == ()

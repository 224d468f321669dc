"""Placement policies on small random clusters: against a slow reference, compiled against plain, and what must hold
for all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest

import placing_reference as reference
from ampacity.model.ids import DeviceId, NodeId, WorkloadId
from ampacity.model.node import Device, Node, NodeCondition
from ampacity.model.resources import Allocation, DeviceShare
from ampacity.scheduler.board import Board, Fit
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.placing import Ask, Choice, Mix, PlacementPolicy, PolicyName, Room, make
from ampacity.scheduler.placing.least_waste import LeastWaste, Settings
from ampacity.scheduler.placing.pressure import Pressure

KINDS = ("A", "B", "C")
SHARES = (50, 190, 230, 470, 500, 650, 810)


@dataclass(frozen=True)
class Case:
    """A cluster, what is expected, and what comes."""

    nodes: tuple[Node, ...]
    mix: Mix
    asks: tuple[Ask, ...]


def case(seed: int, nodes: int = 10, asks: int = 80) -> Case:
    rng = Random(seed)
    made = tuple(
        machine(
            f"n{index:02d}",
            rng.choice((0, 1, 2, 4, 8)),
            rng.choice(KINDS),
            rng.choice((8, 64, 96, 256)),
            rng.choice((16, 512)),
        )
        for index in range(nodes)
    )
    kinds = fleet_of(made).kinds
    pods = [an_ask(rng, len(kinds)) for _ in range(12)]
    mix = tuple((pod, rng.randint(1, 9)) for pod in pods)
    return Case(made, mix, tuple(rng.choice(pods) for _ in range(asks)))


def machine(id: str, devices: int, kind: str, cpus: int, memory: int, **more: NodeCondition) -> Node:
    found = tuple(
        Device(id=DeviceId(f"{id}/{index}"), index=index, kind=kind, memory_bytes=80) for index in range(devices)
    )
    return Node(id=NodeId(id), driver="fake", cpu_milli=1000 * cpus, memory_bytes=memory, devices=found, **more)


def an_ask(rng: Random, kinds: int) -> Ask:
    count = rng.choice((0, 1, 1, 1, 1, 2, 4, 8))
    share = rng.choice(SHARES) if count == 1 and rng.random() < 0.6 else 1000
    only = (
        tuple(sorted(rng.sample(range(kinds), rng.randint(1, 2)))) if count and kinds > 1 and rng.random() < 0.3 else ()
    )
    cpu = rng.choice((500, 1000, 3152, 4000, 11300, 12500, 25000))
    return Ask(
        cpu_milli=cpu * max(count, 1), memory_bytes=rng.choice((1, 8)), count=count, device_milli=share, kinds=only
    )


def fleet_of(nodes: tuple[Node, ...]) -> Fleet:
    fleet = Fleet()
    for node in nodes:
        fleet.put_node(node)
    return fleet


def take(board: Board, ask: Ask, choice: Choice) -> None:
    node = board.fleet.node(choice.row)
    shares = tuple(DeviceShare(device=node.devices[slot].id, milli=ask.device_milli) for slot in choice.slots)
    allocation = Allocation(cpu_milli=ask.cpu_milli, memory_bytes=ask.memory_bytes, devices=shares)
    fit = Fit(node=node.id, row=choice.row, allocation=allocation, accelerators_left_milli=0, cpu_left_milli=0)
    board.take(fit, WorkloadId("w"))


def placed(case: Case, policy: PlacementPolicy) -> list[Choice | None]:
    """What the policy does with all that comes."""
    board = Board.of(fleet_of(case.nodes))
    room = Room.of(board)
    done: list[Choice | None] = []
    for number, ask in enumerate(case.asks):
        if number % 20 == 0:
            policy.begin(room)
        (choice,) = policy.choose(room, ask) or [None]
        done.append(choice)
        if choice is not None:
            take(board, ask, choice)
            policy.hold(choice.row, ask)
    return done


def machines(case: Case, fleet: Fleet) -> list[reference.Machine]:
    """By row."""
    return [
        reference.Machine(
            rank=int(fleet.rank[row]),
            kind=fleet.kinds.index(node.devices[0].kind) if node.devices else -1,
            cpu=node.cpu_milli,
            memory=node.memory_bytes,
            gpus=[1000] * len(node.devices),
        )
        for row in range(len(case.nodes))
        for node in [fleet.node(row)]
    ]


def scores(case: Case, room: Room) -> dict[PolicyName, reference.Score]:
    cpu, gpu = room.most_cpu, room.most_device
    return {
        PolicyName.BEST_FIT: reference.best_fit(cpu, gpu),
        PolicyName.DOT_PRODUCT: reference.dot_product(cpu, gpu),
        PolicyName.GPU_CLUSTERING: reference.gpu_clustering(gpu),
        PolicyName.GPU_PACKING: reference.gpu_packing,
        PolicyName.SPREAD: reference.spread(cpu, gpu),
        PolicyName.FGD: reference.fgd(case.mix),
    }


REFERENCED = (
    PolicyName.FGD,
    PolicyName.BEST_FIT,
    PolicyName.DOT_PRODUCT,
    PolicyName.GPU_CLUSTERING,
    PolicyName.GPU_PACKING,
    PolicyName.SPREAD,
)


@pytest.mark.parametrize("name", REFERENCED)
@pytest.mark.parametrize("seed", range(6))
def test_chooses_what_the_slow_reference_chooses(name: PolicyName, seed: int) -> None:
    given = case(seed)
    fleet = fleet_of(given.nodes)
    there = machines(given, fleet)
    score = scores(given, Room.of(Board.of(fleet)))[name]
    for number, (ask, choice) in enumerate(zip(given.asks, placed(given, make(name, mix=given.mix)), strict=True)):
        expected = reference.choose(there, ask, score, spread_scores=name is PolicyName.BEST_FIT)
        got = None if choice is None else (choice.row, list(choice.slots))
        assert got == expected, f"arrival {number}: {ask}"
        if expected is not None:
            row, slots = expected
            classes = there[row].classes | ({0 if ask.shares else ask.count} if ask.count else set())
            there[row] = there[row].with_gpus(ask, slots)
            there[row].classes = classes


@pytest.mark.parametrize("quantum_milli", [0.001, 30.0])
@pytest.mark.parametrize("seed", range(4))
def test_least_waste_chooses_what_the_slow_reference_values_most(seed: int, quantum_milli: float) -> None:
    given, settings = case(seed, asks=50), Settings(quantum_milli=quantum_milli)
    board = Board.of(fleet_of(given.nodes))
    room = Room.of(board)
    there = machines(given, board.fleet)
    policy = LeastWaste(given.mix, settings=settings)
    for number, ask in enumerate(given.asks):
        if number % 10 == 0:
            policy.begin(room)
            loads = Pressure(given.mix).loads(room)
            prices = [settings.kind_price * min(max(load - 1, 0.0), 1.0) for load in loads]
            score = reference.least_waste(given.mix, [*prices, 0.0], settings)
        (choice,) = policy.choose(room, ask) or [None]
        fitting = {row: score(machine, ask) for row, machine in enumerate(there) if machine.fits(ask)}
        assert (choice is None) == (not fitting)
        if choice is None:
            continue
        best = max(value for value, _ in fitting.values())
        value, slots = fitting[choice.row]
        assert value > best - quantum_milli - 1e-6
        alike = there[choice.row].gpus[choice.slots[0]] == there[choice.row].gpus[slots[0]] if slots else True
        assert list(choice.slots) == slots or (ask.shares and alike)
        take(board, ask, choice)
        there[choice.row] = there[choice.row].with_gpus(ask, list(choice.slots))


@pytest.mark.parametrize("name", PolicyName)
@pytest.mark.parametrize("seed", range(4))
def test_compiled_and_plain_kernels_answer_alike(name: PolicyName, seed: int) -> None:
    given = case(100 + seed)
    compiled, plain = (placed(given, make(name, mix=given.mix, compiled=which)) for which in (True, False))
    assert compiled == plain


@pytest.mark.parametrize("name", PolicyName)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_is_what_would_be_worked_out_anew(name: PolicyName, seed: int) -> None:
    """After takes and rollbacks in any order, and gives only what fits, on nodes that may be chosen, each once."""
    rng, given = Random(seed), case(200 + seed, nodes=12)
    nodes = (*given.nodes, machine("closed", 8, "A", 96, 512, condition=NodeCondition.CORDONED))
    board = Board.of(fleet_of(nodes))
    room, policy = Room.of(board), make(name, mix=given.mix, seed=seed)
    mark = board.mark()
    for ask in given.asks:
        among = None if rng.random() < 0.5 else np.array([rng.random() < 0.7 for _ in range(room.size)])
        count = rng.randint(1, 4)
        policy.begin(room)
        found = policy.choose(room, ask, among=among, count=count)
        if name is not PolicyName.RANDOM:
            fresh = make(name, mix=given.mix)
            fresh.begin(room)
            assert found == fresh.choose(room, ask, among=among, count=count)
        fitting = policy.rate(room, ask).value > -np.inf
        fits = np.count_nonzero(fitting if among is None else fitting & among)
        assert len({choice.row for choice in found}) == len(found) == min(count, fits)
        for choice in found:
            assert room.open[choice.row]
            assert among is None or among[choice.row]
            assert len(choice.slots) == ask.count
            assert room.cpu_left[choice.row] >= ask.cpu_milli
            assert room.memory_left[choice.row] >= ask.memory_bytes
            for slot in choice.slots:
                assert room.device_left[choice.row, slot] >= ask.device_milli
                assert not ask.kinds or room.device_kind[choice.row, slot] in ask.kinds
        before = [choice.score for choice in found]
        assert before == sorted(before, reverse=True)
        if rng.random() < 0.15:
            board.rollback(mark)
        elif found:
            take(board, ask, found[0])
    policy.learn(given.mix[:3])
    relearned = make(name, mix=given.mix[:3], seed=seed)
    if name is not PolicyName.RANDOM:
        for each in (policy, relearned):
            each.begin(room)
        assert policy.choose(room, given.asks[0]) == relearned.choose(room, given.asks[0])


@pytest.mark.parametrize("name", PolicyName)
def test_places_on_nodes_without_devices_and_without_expectations(name: PolicyName) -> None:
    board = Board.of(fleet_of((machine("a", 0, "A", 8, 16), machine("b", 0, "A", 16, 16))))
    room, policy = Room.of(board), make(name)
    policy.begin(room)
    assert len(policy.choose(room, Ask(cpu_milli=1000), count=5)) == 2
    assert policy.choose(room, Ask(cpu_milli=1000, count=1)) == []
    assert [choice.row for choice in policy.choose(room, Ask(cpu_milli=9000), count=3)] == [1]


@pytest.mark.parametrize("name", [name for name in PolicyName if name is not PolicyName.RANDOM])
def test_faster_kinds_come_first_where_nothing_else_differs(name: PolicyName) -> None:
    board = Board.of(
        fleet_of((machine("a", 4, "A", 64, 512), machine("b", 4, "B", 64, 512), machine("c", 4, "C", 64, 512)))
    )
    room, policy = Room.of(board), make(name)
    speeds = dict(zip(board.fleet.kinds, (0.5, 1.0, 0.25), strict=True))
    ask = Ask(cpu_milli=1000, count=1, speeds=tuple(speeds.values()))
    rows = [choice.row for choice in policy.choose(room, ask, count=3)]
    assert [board.fleet.kinds[room.kind[row]] for row in rows] == sorted(speeds, key=lambda kind: -speeds[kind])
    first = replace(ask, kinds=(board.fleet.kinds.index("A"),))
    assert [board.fleet.kinds[room.kind[choice.row]] for choice in policy.choose(room, first, count=3)] == ["A"]


def test_least_waste_weighs_time_lost_against_devices_lost() -> None:
    """A slightly slower kind is taken where the faster one is all but spoken for; a much slower one is not."""
    nodes = (machine("a", 1, "A", 64, 512), *(machine(f"b{index}", 4, "B", 64, 512) for index in range(3)))
    board = Board.of(fleet_of(nodes))
    room, fast = Room.of(board), board.fleet.kinds.index("A")
    mix = [(Ask(cpu_milli=1000, count=1, kinds=(fast,)), 9), (Ask(cpu_milli=1000, count=1), 1)]
    policy = LeastWaste(mix)
    policy.begin(room)
    chosen = {
        speed: room.kind[policy.choose(room, Ask(cpu_milli=1000, count=1, speeds=speeds))[0].row] == fast
        for speed in (0.95, 0.2)
        for speeds in [tuple(1.0 if code == fast else speed for code in range(2))]
    }
    assert chosen == {0.95: False, 0.2: True}

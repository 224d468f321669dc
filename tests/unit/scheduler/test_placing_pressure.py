"""Loads of kinds: what is asked of each over what it has left, if the demand goes where it evens them out."""

from __future__ import annotations

import numpy as np
import pytest

from ampacity.model.node import NodeCondition
from ampacity.scheduler.board import Board
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.placing import Ask, Mix, Room
from ampacity.scheduler.placing.pressure import Pressure
from scheduler_cluster import node


def room(**devices: int) -> Room:
    fleet = Fleet()
    for kind, count in devices.items():
        fleet.put_node(node(kind, devices=count, kind=kind))
    return Room.of(Board.of(fleet))


def asks(*parts: tuple[tuple[int, ...], int]) -> Mix:
    """By the codes of their kinds, and how many devices in all."""
    return [(Ask(cpu_milli=1, count=1, kinds=kinds), times) for kinds, times in parts]


def test_demand_that_can_go_anywhere_presses_on_nothing() -> None:
    assert Pressure(asks(((), 9))).loads(room(A=4, B=4)).tolist() == [1, 1]
    assert Pressure([]).loads(room(A=4)).tolist() == [1]


def test_what_can_go_elsewhere_leaves_a_kind_to_those_that_cannot() -> None:
    loads = Pressure(asks(((0,), 3), ((), 3))).loads(room(A=4, B=2))
    assert loads == pytest.approx([1, 1], abs=0.01), "three quarters of A is theirs, and the others fit beside them"


def test_a_kind_is_loaded_by_what_only_it_can_serve() -> None:
    loads = Pressure(asks(((0,), 3), ((), 1))).loads(room(A=2, B=6))
    assert loads == pytest.approx([3, 1 / 3], abs=0.02), "six of eight are asked of two"
    of_two_sizes = [*asks(((0,), 1), ((), 1)), (Ask(cpu_milli=2, count=2, kinds=(0,)), 1)]
    assert Pressure(of_two_sizes).loads(room(A=2, B=6)) == pytest.approx(loads), "all that ask for it count together"


def test_kinds_that_share_their_demand_are_loaded_alike() -> None:
    loads = Pressure(asks(((0, 1), 3), ((2,), 1))).loads(room(A=2, B=4, C=6))
    assert loads == pytest.approx([1.5, 1.5, 0.5], abs=0.02)


def test_only_what_is_left_on_nodes_that_take_work_counts() -> None:
    fleet = Fleet()
    fleet.put_node(node("a", devices=4, kind="A"))
    fleet.put_node(node("b", devices=4, kind="B"))
    fleet.put_node(node("c", devices=4, kind="B", condition=NodeCondition.CORDONED))
    loads = Pressure(asks(((0,), 2), ((1,), 1))).loads(Room.of(Board.of(fleet)))
    assert loads == pytest.approx([4 / 3, 2 / 3], abs=0.01)


def test_demand_for_kinds_that_are_nowhere_is_left_out() -> None:
    loads = Pressure(asks(((7,), 50), ((0,), 1), ((1,), 1))).loads(room(A=2, B=2))
    assert np.isfinite(loads).all()
    assert loads[0] == pytest.approx(loads[1])

"""Each stage by itself: order, fit, place, and the arithmetic of what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ampacity.model.fits import capacity, free_on, less
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.node import Node
from ampacity.model.quantities import parse_accelerators
from ampacity.model.resources import Allocation, DeviceShare, Range, ResourceRequest
from ampacity.model.workload import Desired, SpecRevision, Wish
from ampacity.scheduler import build
from ampacity.scheduler.board import Board, Fit
from ampacity.scheduler.fit import NO_ROOM, best, fits_on, keys_of
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.gang import Gang, asks_no_less
from ampacity.scheduler.place import place
from ampacity.scheduler.shortfall import Dimension, most_to_ask, shortfall
from ampacity.scheduler.words import listed, say_request
from scheduler_cluster import GIB, node, request, rows_of, running, workload


def board(*nodes: Node) -> Board:
    fleet = Fleet()
    for each in nodes:
        fleet.put_node(each)
    return Board.of(fleet)


def fitting(on: Board, asked: ResourceRequest) -> list[Fit]:
    keys = keys_of(on, asked)
    rows = best(on, keys, np.flatnonzero(keys < NO_ROOM), len(keys))
    return [fits_on(on, asked, [row])[0] for row in rows.tolist()]


def one(asked: ResourceRequest, size: int = 1) -> Gang:
    return Gang(resources=asked, size=Range.exactly(size))


def test_order_passes_over_what_must_not_start() -> None:
    stopped = workload("w1")
    desired = next(row for row in stopped if isinstance(row, Desired))
    stopped = tuple(replace(desired, wish=Wish.STOP) if row is desired else row for row in stopped)
    without_spec = tuple(row for row in workload("w2") if not isinstance(row, SpecRevision))
    n1 = node("n1")
    state = build(rows_of(n1, stopped, without_spec, running("w3", n1, request()), workload("w4", size=3)))
    assert [(want.workload.id, want.size) for want in state.line.all()] == [("w4", Range.exactly(3))]


def test_fit_says_what_would_be_left() -> None:
    found = fitting(board(node("n1", devices=4, cpus=8), node("n2", devices=2, cpus=8)), request("H100:2", cpus=3))
    assert [(fit.node, fit.accelerators_left_milli, fit.cpu_left_milli) for fit in found] == [
        ("n2", 0, 5000),
        ("n1", 2000, 5000),
    ]


def test_what_was_taken_is_not_given_again() -> None:
    on = board(node("n1", devices=2), node("n2", devices=1))
    (first,) = place(on, one(request("H100:1"), 1)) or ()
    assert first.node == "n2"
    on.take(first, WorkloadId("w1"))
    (second,) = place(on, one(request("H100:1"), 1)) or ()
    assert second.node == "n1"
    on.take(second, WorkloadId("w2"))
    assert place(on, one(request("H100:2"), 1)) is None


def test_only_devices_of_the_kind_count_for_best_fit() -> None:
    mixed = node("n1", devices=2)
    other = tuple(replace(device, id=f"{device.id}-b", kind="L4", index=device.index + 2) for device in mixed.devices)
    mixed = replace(mixed, devices=(*mixed.devices, *other))  # type: ignore[arg-type]
    found = fitting(board(mixed, node("n2", devices=3)), request("H100:2"))
    assert [fit.node for fit in found] == ["n1", "n2"]


def test_a_gang_takes_one_alternative_for_all_its_members() -> None:
    either = replace(request(), accelerators=(parse_accelerators("H100:2"), parse_accelerators("A100:2")))
    a100s = [node(f"a{i}", devices=2, kind="A100") for i in range(2)]
    found = place(board(node("h0", devices=2), *a100s), one(either, 2))
    assert found is not None
    assert [fit.node for fit in found] == ["a0", "a1"]
    preferred = place(board(node("h0", devices=2), *a100s), one(either, 1))
    assert preferred is not None
    assert [fit.node for fit in preferred] == ["h0"]


def test_the_least_memory_of_a_device_counts() -> None:
    assert place(board(node("n1", devices=1)), one(request("H100:80GiB:1"), 1)) is not None
    assert place(board(node("n1", devices=1)), one(request("H100:81GiB:1"), 1)) is None


def test_a_shortfall_names_every_dimension_and_only_those() -> None:
    n1 = node("n1", devices=2, cpus=8, memory_bytes=16 * GIB)
    held = Allocation(cpu_milli=6000, memory_bytes=GIB, devices=(DeviceShare(device="n1-0", milli=500),))
    found = shortfall(n1, free_on(n1, [held]), capacity(n1), request("H100:2", cpus=4, memory_bytes=8 * GIB))
    assert [(short.dimension, short.missing, short.free, short.total) for short in found.shorts] == [
        (Dimension.DEVICES, 1, 1, 2),
        (Dimension.CPU, 2000, 2000, 8000),
    ]
    share = shortfall(n1, free_on(n1, [held]), capacity(n1), request("H100:0.75"))
    assert share.shorts == ()


def test_a_node_that_shrank_below_what_is_held_lacks_that_too() -> None:
    n1 = node("n1", cpus=2)
    over = less(capacity(n1), Allocation(cpu_milli=5000, memory_bytes=0))
    found = shortfall(n1, over, capacity(n1), request(cpus=1))
    assert [short.missing for short in found.shorts] == [4000]


def test_the_most_that_could_be_asked_for() -> None:
    nodes = [(each, capacity(each)) for each in (node("n1", cpus=8), node("n2", cpus=4), node("n3", cpus=2))]
    assert most_to_ask(nodes, request(cpus=16), Dimension.CPU, 1) == 8000
    assert most_to_ask(nodes, request(cpus=16), Dimension.CPU, 2) == 4000
    assert most_to_ask(nodes, request(cpus=16), Dimension.CPU, 4) == 0
    assert most_to_ask(nodes, request(cpus=16, disk_bytes=1), Dimension.CPU, 1) == 0


def test_words() -> None:
    assert say_request(request("H100:2", cpus=0.5, memory_bytes=10**9)) == "2 H100, 0.5 CPUs and 1GB of memory"
    assert say_request(request("1", cpus=1)) == "1 accelerator and 1 CPU"
    assert say_request(request("A100:80GB:2", cpus=0)) == "2 A100 of 80GB"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and d"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert listed([]) == ""


def test_what_asks_for_no_less_finds_room_nowhere_else() -> None:
    def gang(ask: str, *, cpus: float = 1, nodes: int = 1) -> Gang:
        return Gang(resources=request(ask, cpus=cpus), size=Range.exactly(nodes))

    assert asks_no_less(gang("H100:4"), gang("H100:2"))
    assert asks_no_less(gang("H100"), gang("H100:0.5"))
    assert asks_no_less(gang("H100"), gang(""))
    assert asks_no_less(gang("H100", nodes=2), gang("H100"))
    assert not asks_no_less(gang("H100:2"), gang("H100:4"))
    assert not asks_no_less(gang("H100:4"), gang("H100:2", cpus=2))
    assert not asks_no_less(gang("H100:4"), gang("A100"))
    assert not asks_no_less(gang(""), gang("H100"))
    assert not asks_no_less(gang("H100:4"), replace(gang("H100"), name=(Project("p"), "x")))

"""The arrays against records: after any history they say what ``allocate`` says node by node, and a rollback leaves
no trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.attempt import Attempt, Member
from ampacity.model.fits import allocate, free_on, matching, usable
from ampacity.model.ids import DeviceId, NodeId, WorkloadId, attempt_id
from ampacity.model.node import Device, Health, Node, NodeCondition
from ampacity.model.resources import Allocation, Range, ResourceRequest
from ampacity.scheduler.board import Board, Fit
from ampacity.scheduler.fit import NO_ROOM, _ask, _key, best, fits_on, keys_of, room_for
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.gang import Gang
from ampacity.scheduler.place import place
from scheduler_cluster import GIB, request

ASKS = [
    request("", cpus=1),
    request("", cpus=0, memory_bytes=GIB, disk_bytes=1),
    request("H100", cpus=1),
    request("H100:2", cpus=0),
    request("2", cpus=1),
    request("A100:0.5", cpus=0.5),
    request("H100:60GiB:1", cpus=0),
    request("0.3", cpus=0, memory_bytes=2 * GIB),
    request("B200", cpus=0),
]

devices = st.tuples(
    st.sampled_from(["H100", "A100"]), st.sampled_from([40, 80]), st.sampled_from([*Health, Health.OK, Health.OK])
)
ids = st.integers(0, 5).map(lambda index: f"n{index}")


@st.composite
def machines(draw: st.DrawFn) -> Node:
    id = draw(ids)
    found = draw(st.lists(devices, max_size=4))
    order = draw(st.permutations(range(len(found))))
    return Node(
        id=NodeId(id),
        driver="fake",
        cpu_milli=draw(st.sampled_from([0, 1000, 4000])),
        memory_bytes=draw(st.sampled_from([0, 2 * GIB, 8 * GIB])),
        disk_bytes=draw(st.sampled_from([0, 1])),
        condition=draw(st.sampled_from([*NodeCondition, NodeCondition.READY, NodeCondition.READY])),
        devices=tuple(
            Device(id=DeviceId(f"{id}-{index}"), index=index, kind=kind, memory_bytes=size * GIB, health=health)
            for index, (kind, size, health) in zip(order, found, strict=True)
        ),
    )


changes = st.lists(
    st.one_of(
        machines(),
        ids,
        st.tuples(st.sampled_from(ASKS), st.integers(1, 3)),
        st.integers(0, 20),
    ),
    max_size=25,
)
"""A node as it now is, one that goes, a gang that starts on the nodes that fit it best, an attempt that ends."""


class Oracle:
    """The same with records and no memory of its own."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.nodes: dict[NodeId, Node] = {}
        self.attempts: list[Attempt] = []

    def change(self, change: object, number: int) -> None:
        match change:
            case Node():
                self.nodes[change.id] = change
                self.fleet.put_node(change)
            case str():
                self.nodes.pop(NodeId(change), None)
                self.fleet.remove_node(NodeId(change))
            case int():
                if self.attempts:
                    self.fleet.release(self.attempts.pop(change % len(self.attempts)))
            case (ResourceRequest() as asked, int(size)):
                self.start(asked, size, number)

    def start(self, asked: ResourceRequest, size: int, number: int) -> None:
        board = Board.of(self.fleet)
        fits = place(board, Gang(resources=asked, size=Range(minimum=1, maximum=size)))
        if fits is None:
            return
        workload = WorkloadId(f"w{number}")
        attempt = Attempt(
            id=attempt_id(workload, 0, 1),
            workload=workload,
            replica=0,
            epoch=1,
            spec_revision=1,
            members=tuple(
                Member(index=index, node=fit.node, allocation=fit.allocation) for index, fit in enumerate(fits)
            ),
        )
        self.attempts.append(attempt)
        self.fleet.hold(attempt)

    def held(self, node: NodeId) -> list[Allocation]:
        return [member.allocation for each in self.attempts for member in each.members if member.node == node]

    def fits(self, asked: ResourceRequest) -> list[tuple[int, int, NodeId]]:
        """Accelerators and CPU that would be left, and the node: the best first."""
        found = []
        for node in self.nodes.values():
            free = free_on(node, self.held(node.id))
            given_out = allocate(node, free, asked) if usable(node) else None
            if given_out is not None:
                wanted = {device.id for each in asked.accelerators for device in matching(node, each)}
                left = sum(
                    milli for id, milli in free.device_milli.items() if not asked.accelerators or id in wanted
                ) - sum(share.milli for share in given_out.devices)
                found.append((left, free.cpu_milli - given_out.cpu_milli, node.id))
        return sorted(found)


def fitting(board: Board, asked: ResourceRequest, most: int = 100) -> list[Fit]:
    """Where one member fits, the best first."""
    keys = keys_of(board, asked)
    rows = best(board, keys, np.flatnonzero(keys < NO_ROOM), most)
    return [fits_on(board, asked, [row])[0] for row in rows.tolist()]


def history(changes: Sequence[object]) -> Oracle:
    oracle = Oracle()
    for number, change in enumerate(changes):
        oracle.change(change, number)
    return oracle


@given(changes=changes)
@settings(max_examples=200, deadline=None)
def test_the_arrays_say_what_the_records_say(changes: Sequence[object]) -> None:
    oracle = history(changes)
    fleet = oracle.fleet
    assert {node.id: node for node in fleet.known()} == oracle.nodes
    for id, node in oracle.nodes.items():
        assert fleet.free(id) == free_on(node, oracle.held(id))
    board = Board.of(fleet)
    for asked in ASKS:
        expected = oracle.fits(asked)
        found = fitting(board, asked)
        assert [(fit.accelerators_left_milli, fit.cpu_left_milli, fit.node) for fit in found] == expected
        for most in (1, 2):
            assert [fit.node for fit in fitting(board, asked, most)] == [fit[2] for fit in expected][:most]


@given(changes=changes)
@settings(max_examples=100, deadline=None)
def test_a_fleet_kept_current_equals_one_built_anew(changes: Sequence[object]) -> None:
    oracle = history(changes)
    anew = Fleet()
    for attempt in reversed(oracle.attempts):
        anew.hold(attempt)
    for id in sorted(oracle.nodes, reverse=True):
        anew.put_node(oracle.nodes[id])
    assert oracle.fleet == anew
    for asked in ASKS:
        one, other = Board.of(oracle.fleet), Board.of(anew)
        assert fitting(one, asked) == [replace(fit, row=oracle.fleet.row_of[fit.node]) for fit in fitting(other, asked)]


@given(changes=changes, deeds=st.lists(st.tuples(st.sampled_from([*ASKS, None]), st.integers(0, 20)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_what_is_rolled_back_leaves_no_trace(
    changes: Sequence[object], deeds: Sequence[tuple[ResourceRequest | None, int]]
) -> None:
    oracle = history(changes)
    board = Board.of(oracle.fleet)
    marks = []
    for asked, number in deeds:
        marks.append((board.mark(), _picture(board)))
        if asked is not None:
            for fit in fitting(board, asked, 1):
                board.take(fit, WorkloadId("w"))
        elif number < len(oracle.attempts):
            board.give(oracle.attempts[number])
    for mark, picture in reversed(marks):
        board.rollback(mark)
        assert _picture(board) == picture
    untouched = Board.of(oracle.fleet)
    assert _picture(board) == _picture(untouched)
    for asked in ASKS:
        assert fitting(board, asked) == fitting(untouched, asked)
        assert room_for(board, asked) == room_for(untouched, asked) == len(fitting(board, asked))


@given(changes=changes)
@settings(max_examples=100, deadline=None)
def test_one_row_by_itself_is_as_all_at_once(changes: Sequence[object]) -> None:
    board = Board.of(history(changes).fleet)
    for asked in ASKS:
        keys = keys_of(board, asked)
        assert [_key(board, asked, row) for row in range(board.fleet.size)] == _ask(
            board, asked, np.arange(board.fleet.size)
        ).tolist()
        assert keys.tolist() == [_key(board, asked, row) for row in range(board.fleet.size)]


def _picture(board: Board) -> tuple[object, ...]:
    columns = (board.cpu_left, board.memory_left, board.disk_left, board.device_left, board.version)
    return tuple(column.tolist() for column in columns)

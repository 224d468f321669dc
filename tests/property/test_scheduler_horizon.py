"""When a node has room for a member, against a search through its ends one by one."""

from __future__ import annotations

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.attempt import Attempt, AttemptPhase, Member
from ampacity.model.event import Row
from ampacity.model.fits import allocate, free_on
from ampacity.model.ids import WorkloadId, attempt_id
from ampacity.model.lasting import Basis, Lasting
from ampacity.model.node import Node, NodeCondition
from ampacity.model.plan import Placement
from ampacity.model.resources import Allocation, ResourceRequest
from ampacity.model.workload import WorkloadPhase
from ampacity.scheduler import State, build
from ampacity.scheduler.backfill.horizon import NOW, OVERDUE_S, STEPS
from ampacity.scheduler.backfill.reserve import Reserve
from ampacity.scheduler.board import Board
from ampacity.scheduler.fit import NO_ROOM, keys_of
from ampacity.scheduler.queues.purse import Purse
from scheduler_cluster import node, request, rows_of, workload

ASKS = ["", "H100", "H100:2", "H100:4", "H100:0.5", "A100:2", "3"]
MOST_HELD = STEPS // 2

requests = st.builds(
    lambda ask, cpus, gib: request(ask, cpus=cpus, memory_bytes=gib * 2**30),
    st.sampled_from(ASKS),
    st.sampled_from([0.5, 2, 3]),
    st.sampled_from([0, 64, 200]),
)
lasting_s = st.sampled_from([5.0, 10.0, 50.0, 100.0, 500.0, None])
nodes = st.builds(
    lambda devices, kind, condition: node("n", devices=devices, kind=kind, cpus=4, condition=condition),
    st.integers(0, 4),
    st.sampled_from(["H100", "A100"]),
    st.sampled_from([NodeCondition.READY, NodeCondition.READY, NodeCondition.CORDONED]),
)


def _held(
    index: int, on: Node, allocation: Allocation, asked: ResourceRequest, lasts_s: float | None
) -> tuple[Row, ...]:
    """The rows of one that runs there since 0, until a limit or until somebody stops it."""
    key = WorkloadId(f"r{index}")
    attempt = Attempt(
        id=attempt_id(key, 0, 1),
        workload=key,
        replica=0,
        epoch=1,
        spec_revision=1,
        members=(Member(index=0, node=on.id, allocation=allocation),),
        phase=AttemptPhase.RUNNING,
        lasting=Lasting(basis=Basis.LIMIT, seconds=inf if lasts_s is None else lasts_s),
    )
    return (*workload(key, asked, phase=WorkloadPhase.RUNNING), attempt)


def _filled(
    each: Node, wanted: list[tuple[ResourceRequest, float | None]]
) -> tuple[State, list[tuple[float, Allocation]]]:
    """A state with that node, and on it those for which there is room; with what they hold, until when."""
    holds: list[tuple[float, Allocation]] = []
    parts: list[Row | tuple[Row, ...]] = [each]
    for index, (asked, lasts_s) in enumerate(wanted):
        allocation = allocate(each, free_on(each, [given for _, given in holds]), asked)
        if allocation is not None:
            holds.append((inf if lasts_s is None else lasts_s, allocation))
            parts.append(_held(index, each, allocation, asked, lasts_s))
    return build(rows_of(*parts)), holds


def _searched(each: Node, holds: list[tuple[float, Allocation]], asked: ResourceRequest, now: float) -> float:
    if each.condition is not NodeCondition.READY:
        return inf
    for at in (NOW, *sorted({end for end, _ in holds if end < inf})):
        left = free_on(each, [given for end, given in holds if end > at])
        if allocate(each, left, asked) is not None:
            return at if at == NOW or at >= now else now + OVERDUE_S
    return inf


@settings(deadline=None)
@given(
    each=nodes,
    wanted=st.lists(st.tuples(requests, lasting_s), max_size=MOST_HELD),
    asked=st.lists(requests, min_size=1, max_size=3),
    begun=st.lists(st.tuples(requests, lasting_s), max_size=3),
    now=st.sampled_from([0.0, 20.0]),
)
def test_a_node_has_room_as_soon_as_enough_has_ended_on_it(
    each: Node,
    wanted: list[tuple[ResourceRequest, float | None]],
    asked: list[ResourceRequest],
    begun: list[tuple[ResourceRequest, float | None]],
    now: float,
) -> None:
    state, holds = _filled(each, wanted)
    board = Board.of(state.fleet, state.neighbours, state.answers)
    state.horizon.follow(state.fleet, state.attempts)
    row = state.fleet.row_of[each.id]
    for one in asked:
        expected = _searched(each, holds, one, now)
        assert state.horizon.ready_at(board, one, now)[row] == expected
        assert (keys_of(board, one)[row] < NO_ROOM) == (expected == NOW)

    reserve = Reserve(state.horizon, board, Purse.of(state.shares, board), state.attempts, now)
    for one, lasts_s in begun:
        allocation = allocate(each, board.free(each.id), one)
        if allocation is None:
            continue
        until = inf if lasts_s is None else now + lasts_s
        place = Placement(node=each.id, allocation=allocation)
        board.take_place(place, WorkloadId("begun"))
        reserve.put_places([place], until)
        holds.append((until, allocation))
        for other in asked:  # after each of them: what is remembered of the row is that of its newest state
            assert reserve.ready_at(other)[row] == _searched(each, holds, other, now)

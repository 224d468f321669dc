"""What an explanation says is held against trying it out: by what it proposes the replica starts, by less not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ampacity.model.attempt import Attempt
from ampacity.model.event import Row, Rows, Table
from ampacity.model.node import Health, Node, NodeCondition
from ampacity.model.plan import Wait, WaitCode
from ampacity.model.resources import Range
from ampacity.scheduler import build, could_ever_fit, plan
from scheduler_cluster import node, request, rows_of, running, workload

CONDITIONS = [NodeCondition.READY] * 4 + [NodeCondition.CORDONED, NodeCondition.UNKNOWN]

Machine = tuple[int, int, NodeCondition]
"""Devices, how many of them are held, and the node's condition."""

machines = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from(CONDITIONS)).map(
        lambda found: (found[0], min(found[0], found[1]), found[2])
    ),
    min_size=1,
    max_size=5,
)


def cluster(machines: Sequence[Machine]) -> list[tuple[Row, ...]]:
    parts: list[tuple[Row, ...]] = []
    for index, (devices, held, condition) in enumerate(machines):
        on = node(f"n{index}", devices=devices, condition=condition)
        parts.append((on,))
        parts += [holding(f"w{index}-{device}", on, device) for device in range(held)]
    return parts


def holding(id: str, on: Row, device: int) -> tuple[Row, ...]:
    """A workload that holds this one device and no CPU."""
    assert isinstance(on, Node)
    *others, attempt = running(id, on, request("H100", cpus=0))
    assert isinstance(attempt, Attempt)
    share = replace(attempt.members[0].allocation.devices[0], device=on.devices[device].id)
    allocation = replace(attempt.members[0].allocation, devices=(share,))
    return (*others, replace(attempt, members=(replace(attempt.members[0], allocation=allocation),)))


def starts(rows: Rows, count: int, nodes: int) -> bool:
    """Whether a workload that asks for so many devices on so many nodes would start."""
    asked = rows_of(*_rows(rows), workload("asker", request(f"H100:{count}", cpus=0), num_nodes=Range.exactly(nodes)))
    return any(start.workload == "asker" for start in plan(build(asked), 0.0).starts)


def helped(rows: Rows, count: int, nodes: int, priority: int) -> bool:
    """Whether others make room for it with that priority."""
    asker = workload("asker", request(f"H100:{count}", cpus=0), num_nodes=Range.exactly(nodes), priority=priority)
    return any(each.workload == "asker" for each in plan(build(rows_of(*_rows(rows), asker)), 0.0).promises)


def _rows(rows: Rows) -> list[Row]:
    return [row for table in Table for row in rows.table(table).values()]


def freed(rows: Rows, node_id: str, count: int) -> Rows:
    """Without ``count`` of the attempts that hold a device of this node."""
    held = [each for each in rows.attempts.values() if each.nodes == (node_id,)]
    gone = {each.id for each in held[:count]}
    assert len(gone) == count, "it cannot ask to free more than is held"
    return rows_of(*(row for row in _rows(rows) if not (isinstance(row, Attempt) and row.id in gone)))


def opened(rows: Rows, ids: Sequence[str]) -> Rows:
    parts = [
        replace(row, condition=NodeCondition.READY) if getattr(row, "id", None) in ids else row  # type: ignore[type-var]
        for row in _rows(rows)
    ]
    return rows_of(*parts)


def asked(machines: Sequence[Machine], count: int, nodes: int) -> tuple[Rows, Wait | None]:
    rows = rows_of(*cluster(machines))
    asker = workload("asker", request(f"H100:{count}", cpus=0), num_nodes=Range.exactly(nodes))
    made = plan(build(rows_of(*_rows(rows), asker)), 0.0)
    return rows, next((wait for wait in made.waits if wait.workload == "asker"), None)


@given(machines=machines, count=st.integers(1, 6), nodes=st.integers(1, 3))
@settings(max_examples=250, deadline=None)
def test_every_proposal_is_true(machines: Sequence[Machine], count: int, nodes: int) -> None:
    rows, wait = asked(machines, count, nodes)
    assert (wait is None) == starts(rows, count, nodes)
    if wait is None or wait.code is not WaitCode.INSUFFICIENT:
        return
    assert wait.change
    for proposal in wait.change.split("; or "):
        _try(rows, proposal, count, nodes)


def _try(rows: Rows, proposal: str, count: int, nodes: int) -> None:
    less = re.fullmatch(r"ask for (\d+) H100", proposal)
    fewer = re.fullmatch(r"ask for (\d+) nodes?", proposal)
    raised = re.fullmatch(r"raise its priority to (\d+)", proposal)
    if raised is not None:
        assert helped(rows, count, nodes, int(raised[1]))
        assert not helped(rows, count, nodes, int(raised[1]) - 1)
        return
    if less is not None:
        assert starts(rows, int(less[1]), nodes)
        assert not starts(rows, int(less[1]) + 1, nodes)
        return
    if fewer is not None:
        assert starts(rows, count, int(fewer[1]))
        assert not starts(rows, count, int(fewer[1]) + 1)
        return
    opening = "".join(re.findall(r"(?:uncordon|bring back) ((?:n\d|, (?=n)| and )+)", proposal))
    closed = re.findall(r"n\d", opening)
    frees = [(node_id, int(amount)) for amount, node_id in re.findall(r"(\d+) H100 on (n\d)", proposal)]
    assert closed or frees, proposal
    mended = opened(rows, closed)
    for node_id, amount in frees:
        mended = freed(mended, node_id, amount)
    assert starts(mended, count, nodes)
    for node_id, amount in frees:
        partly = opened(rows, closed)
        for each, given_back in frees:
            partly = freed(partly, each, given_back - (each == node_id and amount > 0))
        assert not starts(partly, count, nodes)


@given(machines=machines, count=st.integers(1, 8), nodes=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_impossible_is_what_does_not_start_on_the_empty_cluster(
    machines: Sequence[Machine], count: int, nodes: int
) -> None:
    empty = [(devices, 0, NodeCondition.READY) for devices, _, _ in machines]
    rows, wait = asked(empty, count, nodes)
    spec = next(iter(workload("w", request(f"H100:{count}", cpus=0), num_nodes=Range.exactly(nodes))[1:]))
    refusal = could_ever_fit(spec.spec, rows.nodes.values())  # type: ignore[union-attr]
    assert (refusal is not None) == (wait is not None)
    if refusal is not None and wait is not None:
        assert (wait.code, wait.text, wait.change) == (WaitCode.IMPOSSIBLE, refusal.message, refusal.hint)


@given(machines=machines, count=st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_the_numbers_of_the_sentence_are_those_of_the_node(machines: Sequence[Machine], count: int) -> None:
    _, wait = asked(machines, count, 1)
    assume(wait is not None and wait.code is WaitCode.INSUFFICIENT)
    assert wait is not None
    found = re.search(
        r"(?:the most free on one node is (\d) of (\d) on n(\d)|nearest is n(\d) with (\d) of (\d) free)", wait.text
    )
    assert found is not None or "is cordoned" in wait.text or "is silent" in wait.text
    if found is None:
        return
    free, total, index = found.group(1, 2, 3) if found[1] is not None else found.group(5, 6, 4)
    devices, held, condition = machines[int(index)]
    assert condition is NodeCondition.READY
    assert (int(free), int(total)) == (devices - held, devices)
    if found[1] is not None:
        assert all(each[0] - each[1] <= int(free) for each in machines if each[2] is NodeCondition.READY)


@given(failed=st.lists(st.lists(st.booleans(), max_size=5), min_size=1, max_size=4), nodes=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_mending_what_it_says_is_enough_and_less_is_not(failed: list[list[bool]], nodes: int) -> None:
    count = 3
    machines = [node(f"n{index}", devices=len(states)) for index, states in enumerate(failed)]
    rows = rows_of(*(_failed(on, states) for on, states in zip(machines, failed, strict=True)))
    asker = workload("asker", request(f"H100:{count}", cpus=0), num_nodes=Range.exactly(nodes))
    waits = plan(build(rows_of(*_rows(rows), asker)), 0.0).waits
    wait = next((each for each in waits if each.workload == "asker"), None)
    assert (wait is None) == starts(rows, count, nodes)
    if wait is None or wait.code is not WaitCode.INSUFFICIENT:
        return
    mend, *others = wait.change.split("; or ")
    for proposal in others:
        _try(rows, proposal, count, nodes)
    wanted = {node_id: int(amount) for amount, node_id in re.findall(r"(\d+) H100 on (n\d)", mend)}
    assert starts(_mended(rows, wanted), count, nodes)
    for node_id in wanted:
        assert not starts(_mended(rows, {**wanted, node_id: wanted[node_id] - 1}), count, nodes)


def _failed(on: Node, states: Sequence[bool]) -> Node:
    healths = (Health.FAILED if state else Health.OK for state in states)
    pairs = zip(on.devices, healths, strict=True)
    return replace(on, devices=tuple(replace(device, health=health) for device, health in pairs))


def _mended(rows: Rows, wanted: dict[str, int]) -> Rows:
    """With so many devices of these nodes working again."""
    changed: list[Row] = []
    for row in _rows(rows):
        if isinstance(row, Node) and row.id in wanted:
            failed = [device.health is Health.FAILED for device in row.devices]
            for place in [place for place, state in enumerate(failed) if state][: wanted[row.id]]:
                failed[place] = False
            row = _failed(row, failed)
        changed.append(row)
    return rows_of(*changed)

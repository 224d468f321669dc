"""What an explanation proposes about quotas, labels and taints is carried out: by it the replica starts, else not."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from test_scheduler_explanations import freed, holding

from ampacity.model.attempt import Attempt
from ampacity.model.event import Row, Rows, SpecRevision, Table
from ampacity.model.ids import QueueName
from ampacity.model.node import Node
from ampacity.model.plan import Wait, WaitCode
from ampacity.model.queue import Queue
from ampacity.model.resources import Range
from ampacity.model.rules import LabelRule, PlacementRules, TopologyMode, TopologyRule
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload

QUEUE = QueueName("vision")


def in_queue(parts: tuple[Row, ...], rules: PlacementRules | None = None) -> tuple[Row, ...]:
    found: list[Row] = []
    for row in parts:
        if isinstance(row, SpecRevision):
            row = replace(row, spec=replace(row.spec, queue=QUEUE, rules=rules or row.spec.rules))
        elif isinstance(row, Attempt):
            row = replace(row, queue=QUEUE)
        found.append(row)
    return tuple(found)


def urgent(parts: tuple[Row, ...], priority: int) -> tuple[Row, ...]:
    return tuple(
        replace(row, spec=replace(row.spec, priority=priority)) if isinstance(row, SpecRevision) else row
        for row in parts
    )


def answer(rows: Rows) -> Wait | None:
    """Why ``asker`` waits; ``None`` = it starts."""
    made = plan(build(rows), 0.0)
    if any(start.workload == "asker" for start in made.starts):
        return None
    return next(wait for wait in made.waits if wait.workload == "asker")


def changed(rows: Rows, *more: Row) -> Rows:
    return rows_of(*(row for table in Table for row in rows.table(table).values()), *more)


@given(
    quota=st.integers(0, 12),
    lent=st.integers(0, 4),
    jobs=st.lists(st.integers(1, 4), max_size=3),
    count=st.integers(1, 4),
    nodes=st.integers(1, 2),
)
@settings(max_examples=150, deadline=None)
def test_what_is_said_about_a_limit_is_true(quota: int, lent: int, jobs: list[int], count: int, nodes: int) -> None:
    machines = [node(f"n{index}", devices=8) for index in range(5)]
    limit = Queue(name=QUEUE, quota={"H100": quota * 1000}, borrowing={"H100": lent * 1000})
    held = [
        in_queue(running(f"w{index}", machines[index], request(f"H100:{devices}", cpus=0)))
        for index, devices in enumerate(jobs)
    ]
    asker = in_queue(workload("asker", request(f"H100:{count}", cpus=0), num_nodes=Range.exactly(nodes)))
    rows = rows_of(*machines, limit, *held, asker)
    wait, used, needed = answer(rows), sum(jobs), count * nodes
    assert (wait is None) == (used + needed <= quota + lent)
    if wait is None:
        return
    assert wait.code is WaitCode.QUOTA
    numbers = re.match(r"needs (\d+) H100; the queue vision uses (\d+) of (\d+) that it may use\.", wait.text)
    assert numbers is not None, wait.text
    assert [int(each) for each in numbers.groups()] == [needed, used, quota + lent]
    missing = re.match(r"(\d+) H100 of that queue have to come free; or write ", wait.change)
    assert missing is not None, wait.change
    raised = (quota + int(missing[1])) * 1000
    assert answer(changed(rows, replace(limit, quota={"H100": raised}))) is None
    assert answer(changed(rows, replace(limit, quota={"H100": raised - 1000}))) is not None


@given(labelled=st.lists(st.booleans(), min_size=1, max_size=4), nodes=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_labelling_as_many_nodes_as_it_says_is_enough(labelled: list[bool], nodes: int) -> None:
    labels = {True: {"zone": "b"}, False: {"zone": "a"}}
    machines = [replace(node(f"n{i}", devices=2), labels=labels[each]) for i, each in enumerate(labelled)]
    rules = PlacementRules(selector=(LabelRule(key="zone", values=("b",)),))
    asker = in_queue(workload("asker", request("H100:1"), num_nodes=Range.exactly(nodes)), rules)
    rows = rows_of(*machines, asker)
    wait = answer(rows)
    assert (wait is None) == (sum(labelled) >= nodes)
    if wait is None or wait.code is not WaitCode.INSUFFICIENT:
        return
    many = "a node" if nodes == 1 else f"{nodes} nodes"
    assert wait.text.startswith(f"needs {many} with zone=b; ")
    assert wait.change.startswith(f"label {many} so ")
    for count in (nodes - 1, nodes):
        relabelled: list[Node] = [replace(each, labels=labels[i < count]) for i, each in enumerate(machines)]
        assert (answer(changed(rows, *relabelled)) is None) == (count == nodes)


@given(tainted=st.lists(st.sampled_from(["", "gpu=broken", "team=x"]), min_size=1, max_size=4), nodes=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_tolerating_the_taints_that_it_names_is_enough(tainted: list[str], nodes: int) -> None:
    machines = [replace(node(f"n{i}", devices=2), taints=(taint,) if taint else ()) for i, taint in enumerate(tainted)]
    asker = in_queue(workload("asker", request("H100:1"), num_nodes=Range.exactly(nodes)))
    rows = rows_of(*machines, asker)
    wait = answer(rows)
    assert (wait is None) == (tainted.count("") >= nodes)
    if wait is None or not wait.change.startswith("add to its tolerations "):
        return
    named = re.findall(r"gpu=broken|team=x", wait.change)
    assert named
    tolerant = in_queue(
        workload("asker", request("H100:1"), num_nodes=Range.exactly(nodes)), PlacementRules(tolerations=tuple(named))
    )
    assert answer(changed(rows, *tolerant)) is None


@given(leaves=st.lists(st.integers(0, 4), min_size=1, max_size=4), nodes=st.integers(1, 6), level=st.sampled_from("ls"))
@settings(max_examples=100, deadline=None)
def test_what_is_proposed_to_a_gang_that_is_to_stay_together_lets_it_start(
    leaves: list[int], nodes: int, level: str
) -> None:
    """Leaves of so many nodes, two leaves to a spine; a gang that fits nowhere as a whole is told how much of it does,
    and that it may be scattered."""
    machines = [
        replace(node(f"l{leaf}-{i}", devices=2), trees={"fabric": (f"s{leaf // 2}", f"l{leaf}")})
        for leaf, size in enumerate(leaves)
        for i in range(size)
    ]
    rule = TopologyRule(tree="fabric", level={"l": "leaf", "s": "spine"}[level], mode=TopologyMode.REQUIRED)

    def asker(count: int, mode: TopologyMode = TopologyMode.REQUIRED) -> tuple[Row, ...]:
        rules = PlacementRules(topology=replace(rule, mode=mode))
        return in_queue(workload("asker", request("H100:2"), num_nodes=Range.exactly(count)), rules)

    wait = answer(rows_of(*machines, asker(nodes)))
    spines = [sum(leaves[i : i + 2]) for i in range(0, len(leaves), 2)]
    most = max(leaves if level == "l" else spines)
    assert (wait is None) == (nodes <= most)
    if wait is None or wait.code is not WaitCode.INSUFFICIENT:
        return
    fewer = re.search(r"ask for (\d+) nodes?", wait.change)
    assert fewer is not None, wait.change
    assert int(fewer[1]) == most
    assert answer(rows_of(*machines, asker(most))) is None
    assert "; or write `mode: preferred`" in wait.change
    assert answer(rows_of(*machines, asker(nodes, TopologyMode.PREFERRED))) is None


@given(
    leaves=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=3),
    count=st.integers(1, 2),
    nodes=st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_what_is_to_come_free_in_one_place_lets_a_gang_start_that_is_to_stay_together(
    leaves: list[list[int]], count: int, nodes: int
) -> None:
    """On each node of each leaf so many of its two devices are held, the second by what is more urgent."""
    machines = [
        (replace(node(f"n{leaf}{i}", devices=2), trees={"fabric": ("s", f"l{leaf}")}), held)
        for leaf, all_held in enumerate(leaves)
        for i, held in enumerate(all_held)
    ]
    busy = [in_queue(urgent(holding(f"w-{on.id}-{i}", on, i), 50 * i)) for on, held in machines for i in range(held)]
    cluster = rows_of(*(on for on, _ in machines), *busy)

    def asker(
        devices: int, size: int, mode: TopologyMode = TopologyMode.REQUIRED, priority: int = 0
    ) -> tuple[Row, ...]:
        rules = PlacementRules(topology=TopologyRule(tree="fabric", level="leaf", mode=mode))
        asked, members = request(f"H100:{devices}", cpus=0), Range.exactly(size)
        return in_queue(workload("asker", asked, num_nodes=members, priority=priority), rules)

    def helped(priority: int) -> bool:
        made = plan(build(changed(cluster, *asker(count, nodes, priority=priority))), 0.0)
        return [each.workload for each in made.promises] == ["asker"]

    def starts(rows: Rows, more: tuple[Row, ...]) -> bool:
        return answer(changed(rows, *more)) is None

    wait = answer(changed(cluster, *asker(count, nodes)))
    if wait is None or wait.code is not WaitCode.INSUFFICIENT or wait.change == "add nodes to one leaf of fabric":
        assert max(map(len, leaves)) < nodes or wait is None or len(machines) < nodes
        return
    for proposal in wait.change.split("; or "):
        less, fewer = re.fullmatch(r"ask for (\d+) H100", proposal), re.fullmatch(r"ask for (\d+) nodes?", proposal)
        if (raised := re.fullmatch(r"raise its priority to (\d+)", proposal)) is not None:
            assert helped(int(raised[1]))
            assert not helped(int(raised[1]) - 1)
        elif proposal == "write `mode: preferred`":
            assert starts(cluster, asker(count, nodes, TopologyMode.PREFERRED))
        elif less is not None:
            assert starts(cluster, asker(int(less[1]), nodes))
        elif fewer is not None:
            assert starts(cluster, asker(count, int(fewer[1])))
            assert not starts(cluster, asker(count, int(fewer[1]) + 1))
        else:
            frees = [(on, int(amount)) for amount, on in re.findall(r"(\d) H100 on (n\d\d)", proposal)]
            assert frees, proposal
            for short in (None, *frees):
                mended = cluster
                for each in frees:
                    mended = freed(mended, each[0], each[1] - (each == short))
                assert starts(mended, asker(count, nodes)) == (short is None)

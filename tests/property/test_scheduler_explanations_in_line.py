"""What is proposed to those whose room or quota is for others is carried out: by it the replica starts, by less not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from ampacity.model.event import Row, Rows, Table
from ampacity.model.ids import QueueName
from ampacity.model.plan import Wait, WaitCode
from ampacity.model.policy import BackfillPolicy, OrderName, SchedulerPolicy, Sharing
from ampacity.model.quantities import parse_duration
from ampacity.model.queue import Queue
from ampacity.model.queue_file import parse_queue_file
from ampacity.model.resources import Range
from ampacity.model.workload import SpecRevision
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload

NODES = [node(f"n{index}", devices=4) for index in range(3)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    devices: int
    nodes: int = 1
    limit_s: int = 100
    queue: str = "a"
    priority: int = 0


jobs = st.builds(
    Job,
    devices=st.integers(1, 4),
    nodes=st.integers(1, 2),
    limit_s=st.sampled_from([10, 40, 70, 400]),
    queue=st.sampled_from(["a", "a", "b"]),
    priority=st.sampled_from([0, 0, 50]),
)
larger = st.builds(
    Job,
    devices=st.integers(3, 4),
    nodes=st.integers(1, 3),
    limit_s=st.sampled_from([10, 40, 400]),
    queue=st.sampled_from(["a", "a", "b"]),
    priority=st.sampled_from([0, 0, 50]),
)
policies = st.builds(
    SchedulerPolicy,
    sharing=st.sampled_from(Sharing),
    order=st.sampled_from([OrderName.FAIR, OrderName.PRIORITY, OrderName.FIFO, OrderName.MULTIFACTOR]),
    backfill=st.builds(BackfillPolicy, depth=st.integers(1, 3)),
)


def submitted(id: str, job: Job, at: float) -> tuple[Row, ...]:
    return workload(
        id,
        request(f"H100:{job.devices}", cpus=0),
        num_nodes=Range.exactly(job.nodes),
        created_at=at,
        limit_s=float(job.limit_s),
        queue=job.queue,
        owner=job.queue,
        priority=job.priority,
    )


def busy(held: Sequence[tuple[int, int]], queue: str = "b") -> list[tuple[Row, ...]]:
    """On each node so many devices until then."""
    found = []
    for index, (devices, ends) in enumerate(held):
        if devices:
            asked = request(f"H100:{devices}", cpus=0)
            found.append(running(f"w{index}", NODES[index], asked, lasts_s=float(ends), queue=queue))
    return found


def answer(rows: Rows) -> Wait | None:
    """Why ``asker`` waits; ``None`` = it starts."""
    made = plan(build(rows), 0.0)
    if any(start.workload == "asker" for start in made.starts):
        return None
    return next(wait for wait in made.waits if wait.workload == "asker")


def all_of(rows: Rows) -> list[Row]:
    return [row for table in Table for row in rows.table(table).values()]


def starts(rows: Rows, **keys: Any) -> bool:
    """Whether ``asker`` would start if these keys of its spec were others."""
    changed = (
        replace(row, spec=replace(row.spec, **keys))
        if isinstance(row, SpecRevision) and row.workload == "asker"
        else row
        for row in all_of(rows)
    )
    return answer(rows_of(*changed)) is None


@given(
    held=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([20, 50, 90])), min_size=3, max_size=3),
    heads=st.lists(larger, min_size=1, max_size=4),
    asker=jobs,
    place=st.integers(0, 4),
    policy=policies,
)
@settings(max_examples=250, deadline=None)
def test_what_is_proposed_to_one_that_stands_behind_others_lets_it_start(
    held: list[tuple[int, int]], heads: list[Job], asker: Job, place: int, policy: SchedulerPolicy
) -> None:
    line = [submitted(f"h{index}", job, float(index)) for index, job in enumerate(heads)]
    rows = rows_of(*NODES, *busy(held), *line, submitted("asker", asker, place + 0.5), policy)
    wait = answer(rows)
    if wait is None or wait.code is not WaitCode.BEHIND:
        return
    for proposal in wait.change.split("; or "):
        event(re.sub(r"[\d:-]+\w*", "#", proposal))
        _try(rows, proposal, asker, alone=not plan(build(rows), 0.0).starts)


def _try(rows: Rows, proposal: str, asker: Job, *, alone: bool) -> None:
    """``alone``: nobody else starts. Of what starts behind it, it could have some room as well: then less may do."""
    if proposal == "it starts once they have":
        return
    shorter = re.match(r"set `max_duration: (\w+)`, to have ended by ", proposal)
    less = re.fullmatch(r"ask for (\d+) H100", proposal)
    fewer = re.fullmatch(r"ask for (\d+) nodes?", proposal)
    raised = re.fullmatch(r"raise its priority to (\d+)", proposal)
    if shorter is not None:
        longest = parse_duration(shorter[1])
        assert longest < asker.limit_s
        assert starts(rows, max_duration_s=longest)
        assert not (alone and starts(rows, max_duration_s=longest + 1))
    elif less is not None:
        assert starts(rows, resources=request(f"H100:{less[1]}", cpus=0))
        assert not (alone and starts(rows, resources=request(f"H100:{int(less[1]) + 1}", cpus=0)))
    elif fewer is not None:
        assert starts(rows, num_nodes=Range.exactly(int(fewer[1])))
        assert not (alone and starts(rows, num_nodes=Range.exactly(int(fewer[1]) + 1)))
    else:
        assert raised is not None, proposal
        assert starts(rows, priority=int(raised[1])), "a smaller one may do, where it comes before some of them"


amounts = st.integers(0, 6)
queue_of = st.builds(
    lambda quota, borrowing, borrows, lending, lends: {
        "quota": {"H100": quota * 1000},
        "borrowing": {} if borrowing is None or not borrows else {"H100": borrowing * 1000},
        "borrows": borrows,
        "lending": {} if lending is None or not lends else {"H100": min(lending, quota) * 1000},
        "lends": lends,
    },
    amounts,
    st.none() | st.integers(0, 3),
    st.booleans(),
    st.none() | st.integers(0, 3),
    st.booleans(),
)


@given(
    rules=st.lists(queue_of, min_size=3, max_size=3),
    nested=st.booleans(),
    used=st.lists(st.integers(0, 3), min_size=2, max_size=2),
    heads=st.lists(st.integers(1, 4), max_size=3),
    count=st.integers(1, 4),
)
@settings(max_examples=250, deadline=None)
def test_what_queues_are_said_to_borrow_and_lend_lets_it_start(
    rules: list[dict[str, Any]], nested: bool, used: list[int], heads: list[int], count: int
) -> None:
    """Three queues beside each other, or one with two parts; there is room for all that wait."""
    queues = [Queue(name=QueueName(name), **rule) for name, rule in zip("abc", rules, strict=True)]
    if nested:
        queues = [replace(queues[0], parent="c"), replace(queues[1], parent="c"), queues[2]]
    nodes = [node(f"m{index}", devices=4) for index in range(4)]
    holding = [
        running(f"w{index}", node(f"x{index}", devices=4), request(f"H100:{devices}", cpus=0), queue="ab"[index])
        for index, devices in enumerate(used)
        if devices
    ]
    line = [submitted(f"h{index}", Job(devices=each), float(index)) for index, each in enumerate(heads)]
    machines = [*nodes, node("x0", devices=4), node("x1", devices=4)]
    asker = submitted("asker", Job(devices=count), 9.0)
    rows = rows_of(*machines, *queues, *holding, *line, asker)
    wait = answer(rows)
    if wait is None or wait.code is not WaitCode.QUOTA:
        return
    _check_quota(rows, wait, queues)


def _check_quota(rows: Rows, wait: Wait, queues: Sequence[Queue]) -> None:
    found = re.search(
        r"write (.+?) in the queue file(, with what .*)?(?:; or raise its priority to \d+)?$", wait.change
    )
    assert found is not None, wait.change
    by_name = {str(queue.name): queue for queue in queues}
    for key, text, name in re.findall(r"`(borrow|lend): ({.*?})` for (\w+)", found[1]):
        parsed = parse_queue_file(f"queues:\n  {name}: {{quota: {{H100: 99}}, {key}: {text}}}\n", file="q").queues
        assert parsed is not None
        row = parsed[0]
        now = by_name[name]
        by_name[name] = (
            replace(now, borrowing=row.borrowing, borrows=True)
            if key == "borrow"
            else replace(now, lending=row.lending, lends=True)
        )
    event("with others ahead" if found[2] else f"alone: {found[1].count('`') // 2} changes")
    assert answer(rows_of(*all_of(rows), *by_name.values())) is None
    if found[2]:
        return
    for name, queue in by_name.items():
        before = next(each for each in queues if each.name == name)
        if queue == before:
            continue
        short = replace(
            queue,
            borrowing=_less(queue.borrowing) if queue.borrowing != before.borrowing else queue.borrowing,
            lending=_less(queue.lending) if queue.lending != before.lending else queue.lending,
        )
        assert answer(rows_of(*all_of(rows), *({**by_name, name: short}.values()))) is not None, "by less it does not"


def _less(amounts: object) -> dict[str, int]:
    assert isinstance(amounts, dict)
    return {name: amount - 1000 for name, amount in amounts.items()}


@given(
    quota=st.integers(0, 8),
    lent=st.none() | st.integers(0, 2),
    kept=st.integers(0, 14),
    running_jobs=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([-50, 0, 30, 60])), max_size=4),
    heads=st.lists(st.builds(Job, devices=st.integers(1, 4), priority=st.sampled_from([0, 40])), max_size=3),
    asker=st.builds(Job, devices=st.integers(1, 4), nodes=st.integers(1, 2), priority=st.sampled_from([0, 40])),
    order=st.sampled_from([OrderName.FAIR, OrderName.PRIORITY, OrderName.FIFO]),
)
@settings(max_examples=250, deadline=None)
def test_with_the_priority_proposed_others_of_its_queue_leave_enough_to_it(
    quota: int,
    lent: int | None,
    kept: int,
    running_jobs: list[tuple[int, int]],
    heads: list[Job],
    asker: Job,
    order: OrderName,
) -> None:
    """There is room for all that wait; the queue's limit, or what another keeps, is in the way."""
    own = Queue(
        name=QueueName("a"), quota={"H100": quota * 1000}, borrowing={} if lent is None else {"H100": lent * 1000}
    )
    other = Queue(name=QueueName("b"), quota={"H100": kept * 1000}, lends=False)
    machines = [node(f"x{index}", devices=4) for index in range(4)] + [
        node(f"m{index}", devices=4) for index in range(6)
    ]
    busy = []
    for index, (devices, priority) in enumerate(running_jobs):
        parts = running(f"w{index}", machines[index], request(f"H100:{devices}", cpus=0), queue="a")
        busy.append(
            tuple(
                replace(row, spec=replace(row.spec, priority=priority)) if isinstance(row, SpecRevision) else row
                for row in parts
            )
        )
    line = [submitted(f"h{index}", job, float(index)) for index, job in enumerate(heads)]
    policy = SchedulerPolicy(order=order)
    rows = rows_of(*machines, own, other, *busy, *line, submitted("asker", asker, 9.0), policy)
    wait = answer(rows)
    raised = re.search(r"raise its priority to (\d+)$", wait.change) if wait is not None else None
    if wait is None or wait.code is not WaitCode.QUOTA or raised is None:
        return
    event("raised")
    own_spec = next(row for row in all_of(rows) if isinstance(row, SpecRevision) and row.workload == "asker")
    higher = replace(own_spec, spec=replace(own_spec.spec, priority=int(raised[1])))
    made = plan(build(rows_of(*all_of(rows), higher)), 0.0)
    assert "asker" in [each.workload for each in (*made.promises, *made.starts)]

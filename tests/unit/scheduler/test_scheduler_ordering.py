"""Who is next: the orders within a queue, and the contest between queues."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ampacity.model.event import Draft, Event, EventKind, Row, put
from ampacity.model.history import RuntimeHistory, Usage, faded, usage_rate, used_since
from ampacity.model.ids import DEFAULT_PROJECT, Owner, QueueName
from ampacity.model.plan import Plan, WaitCode
from ampacity.model.policy import BackfillName, BackfillPolicy, OrderName, Points, SchedulerPolicy, Sharing
from ampacity.model.queue import Queue
from ampacity.model.resources import Range
from ampacity.model.workload import WorkloadPhase
from ampacity.scheduler import build, plan
from ampacity.scheduler.moment import Moment
from ampacity.scheduler.queues.accounts import fairness, tick
from scheduler_cluster import node, request, rows_of, running, workload

DAY = 86_400.0


def starts(*parts: Row | tuple[Row, ...], now: float = 100.0, **policy: object) -> list[str]:
    """Who starts, in order, on one node with room for two."""
    return [start.workload for start in planned(*parts, now=now, **policy).starts]


def planned(*parts: Row | tuple[Row, ...], now: float = 100.0, cpus: float = 2, **policy: object) -> Plan:
    keys = {"backfill": BackfillPolicy(name=BackfillName.NONE), **policy}
    return plan(build(rows_of(node("n1", cpus=cpus), SchedulerPolicy(**keys), *parts)), now)  # type: ignore[arg-type]


def history(kind: str, *lasted_s: float) -> RuntimeHistory:
    found = RuntimeHistory(key=f"default/default/train/name-{kind}")
    for each in lasted_s:
        found = found.with_run(each, 0.0)
    return found


def used(owner: str, used_s: float, queue: str = "default") -> Usage:
    return Usage(queue=QueueName(queue), project=DEFAULT_PROJECT, owner=Owner(owner), used_s=used_s, at=100.0)


def test_fifo_looks_at_age_alone() -> None:
    parts = [workload("w1", priority=0, created_at=1.0), workload("w2", priority=100, created_at=2.0)]
    assert starts(*parts, order=OrderName.FIFO) == ["w1", "w2"]
    assert starts(*parts, order=OrderName.PRIORITY) == ["w2", "w1"]
    assert starts(*parts, order=OrderName.FAIR) == ["w2", "w1"]
    assert starts(*parts, order=OrderName.MULTIFACTOR) == ["w2", "w1"]


def test_with_age_a_low_priority_comes_to_be_first() -> None:
    old, fresh = workload("old", priority=0, created_at=0.0), workload("new", priority=100, created_at=1.5 * DAY)
    for order, first in ((OrderName.PRIORITY, "new"), (OrderName.FAIR, "old")):
        assert starts(old, fresh, now=2 * DAY, order=order)[0] == first
    quicker = Points(ageing_s=2 * DAY)
    assert starts(old, fresh, now=2 * DAY, order=OrderName.FAIR, points=quicker)[0] == "new"


def test_who_has_used_less_goes_first() -> None:
    parts = [workload("w1", owner="anna", created_at=1.0), workload("w2", owner="ben", created_at=2.0)]
    for order in (OrderName.FAIR, OrderName.MULTIFACTOR):
        assert starts(*parts, order=order) == ["w1", "w2"]
        assert starts(*parts, used("anna", 5000.0), used("ben", 10.0), order=order) == ["w2", "w1"]
        assert starts(*parts, used("anna", 5000.0, queue="other"), order=order) == ["w1", "w2"]


def test_what_runs_counts_as_used_before_it_has_ended() -> None:
    parts = [workload("w1", owner="anna", created_at=1.0), workload("w2", owner="ben", created_at=2.0)]
    held = running("w0", node("n1", cpus=3), request(), owner="anna", placed_at=0.0)
    keys = {"cpus": 3, "now": 1000.0, "order": OrderName.FAIR}
    assert [start.workload for start in planned(*parts, held, **keys).starts] == ["w2", "w1"]  # type: ignore[arg-type]


@pytest.mark.parametrize("sharing", Sharing)
@pytest.mark.parametrize("order", [OrderName.FAIR, OrderName.MULTIFACTOR])
def test_who_comes_after_others_or_was_held_back_stands_by_what_it_has_used_as_well(
    order: OrderName, sharing: Sharing
) -> None:
    again = workload("w1", owner="anna", created_at=3.0, not_before=1.0, failures=1)
    first = workload("w0", owner="anna", created_at=0.0)
    done = replace(first[0], phase=WorkloadPhase.SUCCEEDED)  # type: ignore[type-var]
    following = workload("w1", owner="anna", created_at=3.0, after=("w0",))
    ben, cleo = (
        workload(id, owner=owner, created_at=at) for id, owner, at in (("w2", "ben", 2.0), ("w3", "cleo", 4.0))
    )
    keys = {"order": order, "sharing": sharing}
    for late in ((again,), (done, following)):
        for others, second in (([ben], "w1"), ([ben, cleo], "w3")):
            assert starts(*late, *others, **keys) == ["w2", "w1"], "by their age, where nobody has used anything"
            assert starts(*late, *others, used("anna", 5000.0), **keys) == ["w2", second]
            assert starts(*late, *others, used("ben", 5000.0), **keys)[0] != "w2"


def test_who_takes_back_one_of_its_jobs_stands_by_what_it_has_used_with_the_others() -> None:
    policy = SchedulerPolicy(order=OrderName.FAIR, backfill=BackfillPolicy(name=BackfillName.NONE))
    anna = [workload("w1", owner="anna"), workload("w2", request(cpus=2), owner="anna", created_at=1.0)]
    ben = workload("w3", owner="ben", created_at=2.0)
    state = build(rows_of(node("n1", cpus=1), policy, used("anna", 5000.0), *anna, ben))
    assert [start.workload for start in plan(state, 100.0).starts] == ["w3"]
    gone = replace(anna[1][0], phase=WorkloadPhase.CANCELLED, version=2)  # type: ignore[type-var]
    state.apply(Event(seq=1, draft=Draft(kind=EventKind.WORKLOAD_CHANGED, at=0.0, changes=(put(gone),))))
    assert [start.workload for start in plan(state, 100.0).starts] == ["w3"]


def test_usage_fades_by_halves() -> None:
    assert faded(0.0, DAY) == 1.0
    assert faded(2 * DAY, DAY) == 0.25
    row = used("anna", 100.0).charged(60.0, 100.0 + DAY, DAY)
    assert (row.used_s, row.at) == (110.0, 100.0 + DAY)
    assert abs(used_since(2.0, 0.0, 10.0, 1e9) - 20.0) < 1e-6
    ever = used_since(1.0, 0.0, 1000 * DAY, DAY)
    assert abs(ever - DAY / 0.6931471805599453) < 1e-6
    shares = fairness({"anna": 30.0, "ben": 30.0, "cleo": 0.0})
    assert shares["cleo"] == 1.0
    assert shares["anna"] == shares["ben"] == 2**-1.5
    assert [tick(now) for now in (0.0, 59.0, 60.0, 125.0)] == [0.0, 0.0, 60.0, 120.0]
    assert fairness({"anna": 0.0, "ben": 0.0}) == {"anna": 1.0, "ben": 1.0}


def test_usage_is_weighed_by_what_costs_most() -> None:
    weights = {"accelerators": 1.0, "H100": 4.0, "cpus": 0.25}
    assert usage_rate({"accelerators": 3000, "H100": 1000, "A100": 2000, "cpus": 8000}, weights) == 6.0
    assert usage_rate({"cpus": 8000, "memory": 10**12, "licence": 5000}, weights) == 2.0


def test_a_deadline_counts_from_the_moment_on_when_it_has_to_start() -> None:
    older = workload("w1", created_at=1.0)
    due = workload("w2", created_at=2.0, limit_s=1000.0, deadline=5000.0)
    assert starts(older, due, now=3000.0) == ["w1", "w2"]
    assert starts(older, due, now=3400.0) == ["w2", "w1"], "ten minutes before it has to start"


def test_the_longest_path_goes_first_where_it_counts() -> None:
    parts = [workload("w1", created_at=1.0), workload("w2", created_at=2.0)]
    behind = workload("w3", after=("w2",), limit_s=3600.0)
    further = workload("w4", after=("w3",), limit_s=7200.0)
    assert starts(*parts, behind, further) == ["w1", "w2"]
    assert starts(*parts, behind, further, points=Points(critical_path=1.0)) == ["w2", "w1"]
    state = build(rows_of(*parts, behind, further, SchedulerPolicy(points=Points(critical_path=1.0))))
    assert {want.workload.id: want.behind_s for want in state.line.all()}["w2"] == 10_800.0


def test_known_estimated_and_unknown_lengths() -> None:
    known = workload("w1", created_at=1.0, limit_s=5000.0)
    learned = workload("b7", created_at=2.0)
    unknown = workload("c9", created_at=3.0)
    experience = history("b", *([100.0] * 6))
    shortest = {"order": OrderName.SHORTEST_REMAINING}
    assert starts(known, learned, unknown, experience, **shortest) == ["b7", "w1"]
    assert starts(known, learned, unknown, **shortest) == ["w1", "b7"]


def test_gittins_prefers_what_may_soon_end() -> None:
    mixed, steady = workload("a1", created_at=1.0), workload("b1", created_at=2.0)
    half = history("a", *([10.0, 10_000.0] * 5))
    same = history("b", *([1000.0] * 10))
    assert starts(steady, mixed, half, same, order=OrderName.GITTINS) == ["a1", "b1"]
    ran = workload("a1", created_at=1.0, ran_s=50.0)
    assert starts(steady, ran, half, same, order=OrderName.GITTINS) == ["b1", "a1"], "it is one of the long ones"


@pytest.mark.parametrize("order", [OrderName.GITTINS, OrderName.SHORTEST_REMAINING])
def test_where_nothing_is_learned_of_a_kind_what_is_left_of_the_limit_counts(order: OrderName) -> None:
    long, short = workload("w1", created_at=1.0, limit_s=1000.0), workload("w2", created_at=2.0, limit_s=900.0)
    assert starts(long, short, order=order) == ["w2", "w1"]
    ran = workload("w3", created_at=3.0, limit_s=5000.0, ran_s=4800.0)
    assert starts(long, short, ran, order=order) == ["w3", "w2"]
    beyond = workload("w4", created_at=4.0, limit_s=100.0, ran_s=500.0)
    assert starts(long, beyond, order=order) == ["w4", "w1"], "what has run for longer than it may has a second left"


def test_gittins_holds_a_limit_against_what_was_learned_of_others() -> None:
    """The steady ones take 1,000 s, as far as that is known: to within a half."""
    steady, same = workload("b1", created_at=2.0), history("b", *([1000.0] * 10))
    for limit_s, first in ((600.0, "a1"), (1700.0, "b1")):
        limited = workload("a1", created_at=1.0, limit_s=limit_s)
        assert starts(limited, steady, same, order=OrderName.GITTINS)[0] == first


def test_least_attained_service() -> None:
    served, fresh = workload("w1", created_at=1.0, ran_s=500.0), workload("w2", created_at=2.0)
    assert starts(served, fresh, order=OrderName.LEAST_ATTAINED) == ["w2", "w1"]


def test_what_is_learned_of_runtimes() -> None:
    found = history("a", *([100.0] * 19), 1000.0)
    assert found.count == 20
    assert 100.0 < found.quantile_s(0.5) <= 141.5
    assert 1000.0 <= found.quantile_s(1.0) <= 1449.0
    assert 80.0 < found.remaining_s(0.0) < 300.0
    assert found.remaining_s(500.0) > 300.0, "it is the long one"
    assert found.remaining_s(1e9) == 1e9, "longer than any: as long again"


# Between queues ------------------------------------------------------------------------------------------------------


def queue(name: str, **keys: object) -> Queue:
    return Queue(name=QueueName(name), **keys)  # type: ignore[arg-type]


def of(name: str, count: int) -> list[tuple[Row, ...]]:
    return [workload(f"{name}{index}", queue=name, created_at=float(index)) for index in range(count)]


def test_queues_share_by_their_weight() -> None:
    parts = [queue("a", weight=2.0), queue("b"), *of("a", 6), *of("b", 6)]
    made = planned(*parts, cpus=6)
    assert sorted(start.workload for start in made.starts) == ["a0", "a1", "a2", "a3", "b0", "b1"]
    line = planned(*parts, cpus=6, sharing=Sharing.SINGLE_LINE)
    assert sorted(start.workload for start in line.starts) == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_the_dominant_share_counts() -> None:
    n1 = node("n1", cpus=9, devices=9)
    parts = [queue("a"), queue("b")]
    parts += [workload(f"a{index}", request("H100:3", cpus=1), queue="a") for index in range(6)]  # type: ignore[misc]
    parts += [workload(f"b{index}", request("H100", cpus=2), queue="b") for index in range(6)]  # type: ignore[misc]
    policy = SchedulerPolicy(backfill=BackfillPolicy(name=BackfillName.NONE))
    made = plan(build(rows_of(n1, policy, *parts)), 0.0)
    assert sorted(start.workload for start in made.starts) == ["a0", "a1", "b0", "b1", "b2"]


def test_who_stays_within_its_quota_goes_before_who_borrows() -> None:
    parts = [queue("a", quota={"cpus": 3000}), queue("b", quota={"cpus": 1000}, weight=100.0)]
    made = planned(*parts, *of("a", 6), *of("b", 6), cpus=5)
    assert sorted(start.workload for start in made.starts) == ["a0", "a1", "a2", "b0", "b1"]


def test_shares_are_shared_again_below() -> None:
    tree = [queue("top"), queue("x", parent="top"), queue("y", parent="top"), queue("z")]
    made = planned(*tree, *of("x", 6), *of("y", 6), *of("z", 6), cpus=8)
    assert sorted(start.workload for start in made.starts) == ["x0", "x1", "y0", "y1", "z0", "z1", "z2", "z3"]
    standing = {each.queue.name: each for each in made.queues}
    assert (standing["top"].used["cpus"], standing["top"].share, standing["top"].waiting) == (4000, 0.5, 12)


@pytest.mark.parametrize("limit", range(1, 10))
def test_an_elastic_gang_grows_as_far_as_its_queue_may(limit: int) -> None:
    gang = workload("w1", request(cpus=1), num_nodes=Range.at_least(1), queue="a")
    nodes = [node(f"n{index}", cpus=1) for index in range(8)]
    made = plan(build(rows_of(*nodes, queue("a", quota={"cpus": limit * 1000}, borrows=False), gang)), 0.0)
    assert len(made.starts[0].placements) == min(limit, 8)


@pytest.mark.parametrize("passed_over", list(itertools.product([False, True], repeat=4)))
def test_heads_are_looked_at_one_after_the_other_whatever_is_passed_over(passed_over: tuple[bool, ...]) -> None:
    state = build(rows_of(*(workload(f"w{index}", request(cpus=1 + index)) for index in range(len(passed_over)))))
    heads = Moment(state, 0.0).heads("default")
    left = [head for head, over in zip(heads.ordered, passed_over, strict=True) if not over]
    kept = {head.group for head in left}
    for head in left:
        assert heads.peek(lambda group: group not in kept) is head
        heads.done(head)
    assert heads.peek(lambda group: group not in kept) is None


def test_a_policy_holds_from_the_moment_on_when_it_is_set() -> None:
    state = build(rows_of(node("n1", cpus=1), workload("w1"), workload("w2", priority=5, created_at=1.0)))
    assert plan(state, 0.0).starts[0].workload == "w2"
    policy = SchedulerPolicy(order=OrderName.FIFO)
    state.apply(Event(seq=1, draft=Draft(kind=EventKind.QUEUES_CHANGED, at=0.0, changes=(put(policy),))))
    assert plan(state, 0.0).starts[0].workload == "w1"
    again = replace(policy, order=OrderName.PRIORITY, version=2)
    state.apply(Event(seq=2, draft=Draft(kind=EventKind.QUEUES_CHANGED, at=0.0, changes=(put(again),))))
    assert plan(state, 0.0).starts[0].workload == "w2"


def test_those_behind_the_tests_are_told_so() -> None:
    parts = [workload(f"w{index}", request(cpus=1 + index)) for index in range(4)]
    full = running("w9", node("n1", cpus=2), request(cpus=1))
    made = planned(full, *parts, cpus=2, backfill=BackfillPolicy(name=BackfillName.NONE, tests=1))
    assert [start.workload for start in made.starts] == ["w0"]
    assert {wait.code for wait in made.waits} <= {WaitCode.INSUFFICIENT, WaitCode.BEHIND, WaitCode.IMPOSSIBLE}

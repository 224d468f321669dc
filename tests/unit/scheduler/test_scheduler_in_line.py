"""What is said to those whose room or quota is for others, word by word; the property tests carry it out."""

from __future__ import annotations

from dataclasses import replace

from ampacity.model.event import Row
from ampacity.model.ids import QueueName
from ampacity.model.plan import Wait, WaitCode
from ampacity.model.policy import BackfillPolicy, OrderName, SchedulerPolicy
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.queue import Queue
from ampacity.model.resources import Counted, Range
from ampacity.model.site import Site
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload

N1, N2 = node("n1", devices=4), node("n2", devices=4)
GANG = workload("gang", request("H100:4"), num_nodes=Range.exactly(2), created_at=0.0, limit_s=900.0, queue="b")
TIGHT = Queue(name=QueueName("a"), quota={"H100": 4000}, borrows=False)


def why(id: str, *parts: Row | tuple[Row, ...]) -> Wait:
    made = plan(build(rows_of(N1, N2, *parts)), 0.0)
    return next(wait for wait in made.waits if wait.workload == id)


def test_one_behind_others_is_told_how_short_how_small_or_how_urgent_it_would_have_to_be() -> None:
    busy = running("w1", N1, request("H100:3"), lasts_s=7200.0)
    small = workload("small", request("H100:2"), created_at=60.0, limit_s=86_400.0, queue="b")
    found = why("small", busy, GANG, small)
    assert found.code is WaitCode.BEHIND
    assert found.text == "there is room for it, but it is held for name-gang (gang), which it may not delay."
    assert found.change == (
        "set `max_duration: 2h`, to have ended by 1970-01-01 02:00:00 UTC; or raise its priority to 1"
    )
    fifo = SchedulerPolicy(order=OrderName.FIFO)
    assert why("small", busy, GANG, small, fifo).change.startswith("set `max_duration: 2h`, to have ended by ")
    assert "priority" not in why("small", busy, GANG, small, fifo).change
    elsewhere = workload("small", request("H100:2"), created_at=60.0, limit_s=86_400.0)
    assert "priority" not in why("small", busy, GANG, elsewhere).change


def test_one_behind_others_is_told_of_less_that_leaves_alone_what_is_held() -> None:
    """Of the two devices that are free one is held."""
    busy = running("w1", N1, request("H100:2"), lasts_s=7200.0), running("w2", N2, request("H100:4"))
    head = workload("head", request("H100:3"), created_at=0.0, limit_s=900.0)
    found = why("other", *busy, head, workload("other", request("H100:2"), created_at=60.0, limit_s=9000.0))
    assert found.change.split("; or ")[1:] == ["ask for 1 H100", "raise its priority to 1"]


def test_nothing_is_proposed_by_which_it_would_come_to_stand_behind_others() -> None:
    """With Slurm's factors less is worth less, and with a deadline shorter work is less urgent."""
    busy = running("w1", N1, request("H100:2"), lasts_s=7200.0), running("w2", N2, request("H100:4"))
    head = workload("head", request("H100:3"), created_at=0.0, limit_s=900.0)
    other = workload("other", request("H100:2"), created_at=60.0, limit_s=9000.0)
    assert "ask for 1 H100" in why("other", *busy, head, other).change
    assert "ask for" not in why("other", *busy, head, other, SchedulerPolicy(order=OrderName.MULTIFACTOR)).change
    dated = workload("other", request("H100:2"), created_at=60.0, limit_s=9000.0, deadline=9e6)
    assert "max_duration" in why("other", *busy, head, other).change
    assert "max_duration" not in why("other", *busy, head, dated).change


def test_only_those_count_who_start_before_it_has_ended() -> None:
    busy = running("w1", N1, request("H100:3"), lasts_s=50.0), running("w2", N2, request("H100:3"), lasts_s=200.0)
    heads = [workload(f"head{index}", request("H100:4"), created_at=float(index), limit_s=900.0) for index in range(2)]
    pair = workload("pair", request("H100"), num_nodes=Range.exactly(2), created_at=2.0, limit_s=100.0)
    found = why("pair", *busy, *heads, pair)
    assert "it is held for name-head0 (head0), which" in found.text
    assert found.change.startswith("set `max_duration: 50s`, ")
    assert "ask for 1 node" in found.change


def test_nothing_is_proposed_to_one_for_which_it_is_not_sure() -> None:
    """What is shared by nodes is not looked at: but before anybody is to start, all room is there."""
    busy = running("w1", N1, request("H100:3"), lasts_s=7200.0)
    licensed = replace(request("H100"), licences=(Counted(name="matlab", amount=1),))
    small = workload("small", licensed, created_at=60.0, limit_s=86_400.0)
    found = why("small", busy, GANG, small, Site(licences={"matlab": 1}))
    assert found.change == "set `max_duration: 2h`, to have ended by 1970-01-01 02:00:00 UTC"
    soon = running("w1", N1, request("H100:3"), lasts_s=0.5)
    assert why("small", soon, GANG, small, Site(licences={"matlab": 1})).change == "it starts once they have"


def test_who_lacks_quota_is_told_what_to_write_and_whom_it_would_outrank() -> None:
    busy = running("w1", N1, request("H100:2"), queue="a")
    found = why("w", TIGHT, busy, workload("w", request("H100:3"), queue="a"))
    assert found.text == "needs 3 H100; the queue a uses 2 of 4 that it may use."
    assert found.change.split("; or ") == [
        "1 H100 of that queue have to come free",
        "write `borrow: {H100: 1}` for a in the queue file",
        "raise its priority to 1",
    ]


def test_no_priority_is_proposed_to_who_lacks_quota_where_that_is_not_sure() -> None:
    busy = running("w1", N1, request("H100:2", cpus=8), queue="a")
    asker = workload("w", request("H100:3"), queue="a")
    off = SchedulerPolicy(preemption=PreemptionPolicy(enabled=False))
    assert "priority" not in why("w", TIGHT, busy, asker, off).change
    two_short = replace(TIGHT, quota={"H100": 4000, "cpus": 8000})
    assert "priority" not in why("w", two_short, busy, asker).change
    again = workload("v", request("H100:3"), queue="a", not_before=1.0, failures=1)
    made = plan(build(rows_of(N1, N2, TIGHT, busy, asker, again)), 2.0)
    assert all("priority" not in wait.change for wait in made.waits), "one of them stands in no line"


def test_who_lacks_quota_behind_others_is_told_what_is_enough_for_all() -> None:
    busy = running("w1", N1, request("H100:2"), queue="a")
    others = [workload(f"v{index}", request("H100:3"), queue="a", created_at=float(index)) for index in range(2)]
    found = why("w", TIGHT, busy, *others, workload("w", request("H100:3"), queue="a", created_at=9.0))
    assert "write `borrow: {H100: 7}` for a in the queue file, with what the 2 ahead of it would use" in found.change
    first = why("v0", TIGHT, busy, *others)
    assert "write `borrow: {H100: 1}` for a in the queue file; or raise its priority to 1" in first.change


def test_who_would_find_no_room_either_is_told_both() -> None:
    busy = running("w1", N1, request("H100:2"), queue="a"), running("w2", N2, request("H100:2"))
    found = why("w", TIGHT, *busy, workload("w", request("H100:3"), queue="a"))
    assert (found.code, found.text) == (
        WaitCode.QUOTA,
        "needs 3 H100; the queue a uses 2 of 4 that it may use. Nor is there room: it needs 3 H100 on one node; "
        "the most free on one node is 2 of 4 on n1, 2 held by name-w1 (w1).",
    )
    assert "for a in the queue file; and besides free 1 H100 on n1" in found.change


def test_what_no_node_has_is_impossible_whatever_the_quota() -> None:
    found = why("w", TIGHT, workload("w", request("H100:5"), queue="a"))
    assert (found.code, found.text) == (WaitCode.IMPOSSIBLE, "asks for 5 H100; the largest node has 4.")


def test_who_lacks_quota_and_whose_room_is_held_is_told_for_whom() -> None:
    busy = running("w1", N1, request("H100:3"), lasts_s=50.0)
    loose = running("w2", N2, request("H100:1"), queue="a", lasts_s=900.0)
    tight = replace(TIGHT, quota={"H100": 1000})
    gang = workload("gang", request("H100:3"), num_nodes=Range.exactly(2), created_at=0.0, limit_s=900.0)
    found = why("w", tight, busy, loose, gang, workload("w", request("H100:2"), queue="a", created_at=1.0))
    assert found.code is WaitCode.QUOTA
    assert found.text.endswith("that it may use. Its room is held for name-gang (gang).")
    assert found.change.endswith("; it starts once they have")


def test_whoever_was_not_looked_at_is_behind_others() -> None:
    few = SchedulerPolicy(backfill=BackfillPolicy(tests=1, depth=1))
    busy = running("w1", N1, request("H100:3"), lasts_s=50.0)
    long = [workload(f"x{index}", request("H100"), created_at=1.0 + index, limit_s=900.0 + index) for index in range(2)]
    found = why("x1", busy, GANG, *long, few)
    assert (found.text, found.change) == (
        "there is room for it, and others are ahead of it.",
        "it starts when they have started",
    )

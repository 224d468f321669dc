"""Who may take how much, who borrows, who lends, and of whom may be reclaimed."""

from __future__ import annotations

from typing import Any

from ampacity.model.ids import QueueName
from ampacity.model.queue import Queue
from ampacity.scheduler.queues.rules import (
    Bar,
    barred,
    borrowed,
    debtors,
    dominant_share,
    lent,
    within_quota,
)
from ampacity.scheduler.queues.tree import QueueTree

CAPACITY = {"H100": 16, "cpus": 100}


def tree(**queues: dict[str, Any]) -> QueueTree:
    return QueueTree.of({name: Queue(name=QueueName(name), **keys) for name, keys in queues.items()})


def test_chains_and_parts() -> None:
    found = tree(a={}, b={"parent": "a"}, c={"parent": "b"}, d={"parent": "gone"})
    assert found.chain("c") == ("c", "b", "a")
    assert found.chain("unheard-of") == ("unheard-of",)
    assert (found.parts(""), found.parts("a"), found.parts("c")) == (("a", "d"), ("b",), ())


def test_a_queue_without_a_quota_has_what_its_parts_have() -> None:
    found = tree(a={}, b={"parent": "a", "quota": {"H100": 4}}, c={"parent": "a", "quota": {"H100": 2}})
    assert found.quotas["a"] == {"H100": 6}


def test_limits_hold_at_every_level() -> None:
    found = tree(
        a={"quota": {"H100": 8}, "borrows": False},
        b={"parent": "a", "quota": {"H100": 4}, "borrowing": {"H100": 2}},
    )
    used = {"b": {"H100": 5}, "a": {"H100": 7}, "": {"H100": 7}}
    assert barred(found, used, CAPACITY, "b", {"H100": 1}) is None
    beyond = barred(found, used, CAPACITY, "b", {"H100": 2})
    assert beyond is not None
    assert (beyond.queue, beyond.bar, beyond.used, beyond.limit) == ("b", Bar.LIMIT, 5, 6)
    above = barred(found, {**used, "a": {"H100": 8}}, CAPACITY, "b", {"H100": 1})
    assert above is not None
    assert (above.queue, above.limit) == ("a", 8)
    assert barred(found, used, CAPACITY, "b", {"cpus": 1000}) is None, "what no quota names is not limited"


def test_what_is_not_lent_is_kept_for_its_queue() -> None:
    found = tree(a={"quota": {"H100": 10}, "lending": {"H100": 4}}, b={})
    used = {"a": {"H100": 2}, "b": {"H100": 8}, "": {"H100": 10}}
    assert barred(found, used, CAPACITY, "b", {"H100": 2}) is None
    kept = barred(found, used, CAPACITY, "b", {"H100": 3})
    assert kept is not None
    assert (kept.bar, kept.used, kept.limit) == (Bar.KEPT, 10, 12)
    assert barred(found, used, CAPACITY, "a", {"H100": 6}) is None, "its own it may use"
    both = tree(a={"quota": {"H100": 10}, "lends": False}, b={"quota": {"H100": 10}})
    assert barred(both, {}, CAPACITY, "b", {"H100": 10}) is None, "also where there is less than all quotas together"
    assert barred(both, {}, CAPACITY, "b", {"H100": 11}) is not None


def test_what_is_kept_within_a_queue_is_held_against_what_that_may_use() -> None:
    found = tree(
        a={"quota": {"H100": 8}, "borrows": False},
        b={"parent": "a", "quota": {"H100": 2}},
        c={"parent": "a", "quota": {"H100": 6}, "lends": False},
    )
    assert barred(found, {}, CAPACITY, "b", {"H100": 2}) is None
    kept = barred(found, {}, CAPACITY, "b", {"H100": 3})
    assert kept is not None
    assert (kept.queue, kept.bar, kept.limit) == ("b", Bar.KEPT, 2)


def test_shares_borrowing_and_lending() -> None:
    assert dominant_share({"H100": 4, "cpus": 50}, CAPACITY) == 0.5
    assert dominant_share({"TPU": 4}, CAPACITY) == 0.0
    found = tree(a={"quota": {"H100": 6}}, b={"quota": {"H100": 6}})
    used = {"a": {"H100": 1}, "b": {"H100": 13, "cpus": 9}, "": {"H100": 14, "cpus": 9}}
    assert borrowed(found, used, "b") == {"H100": 7}
    assert borrowed(found, used, "a") == {}
    assert lent(found, used, CAPACITY, "a") == {"H100": 3}, "four of the seven are in nobody's quota"
    assert lent(found, used, CAPACITY, "b") == {}
    several = tree(a={"quota": {"H100": 4}}, b={"quota": {"H100": 4}}, c={"quota": {"H100": 8}})
    used = {"a": {"H100": 10}, "": {"H100": 10}}
    assert [lent(several, used, CAPACITY, name) for name in "bc"] == [{"H100": 2}, {"H100": 4}], "by what they spare"


def test_reclaiming_is_from_those_who_borrow() -> None:
    found = tree(
        a={"quota": {"H100": 8}},
        b={"quota": {"H100": 4}},
        c={"quota": {"H100": 4}},
        a1={"parent": "a", "quota": {"H100": 4}},
        a2={"parent": "a", "quota": {"H100": 4}},
        stubborn={"quota": {"H100": 0}, "reclaims": False},
    )
    used = {
        "a": {"H100": 6}, "a1": {"H100": 0}, "a2": {"H100": 6},
        "b": {"H100": 7}, "c": {"H100": 3}, "default": {"H100": 1}, "": {"H100": 17},
    }  # fmt: skip
    assert debtors(found, used, "a1", {"H100": 2}) == ("a2", "b", "default")
    assert debtors(found, used, "a1", {"H100": 3}) == ("a2",), "with three more, a itself would be over its quota"
    assert debtors(found, used, "a1", {"H100": 5}) == ()
    assert debtors(found, used, "c", {"H100": 1}) == ("b", "default")
    assert debtors(found, used, "b", {"H100": 1}) == ()
    assert debtors(found, used, "stubborn", {"H100": 0}) == ()
    assert within_quota(found, used, "c", {"H100": 1, "cpus": 999})

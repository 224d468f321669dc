"""One suite for every store: old events are folded into a base, and nobody loses any."""

from __future__ import annotations

import threading

import pytest

from ampacity.model.event import Draft, EventKind, fold, remove
from ampacity.store.base import Store
from rows import draft, ended, make_attempt, make_node, make_workload, submitted, touch_node


def test_snapshots_are_not_for_appending(store: Store) -> None:
    store.append([draft(make_node())])
    with pytest.raises(ValueError, match="Snapshots"):
        store.append([Draft(kind=EventKind.SNAPSHOT, at=1.0)])
    assert set(store.rows().nodes) == {"n1"}


def test_compaction_keeps_the_fold_and_the_numbers(store: Store) -> None:
    workload = make_workload("a")
    store.append([submitted(workload), draft(make_node()), draft(make_attempt(), workload="wa")])
    store.append([ended(workload)])
    rows = store.rows()
    store.compact(before=3)
    kinds = [(event.seq, event.kind) for event in store.events()]
    assert kinds == [(3, EventKind.SNAPSHOT), (4, EventKind.WORKLOAD_ENDED)]
    assert fold(store.events(), store.base()) == store.rows() == rows
    assert store.append([touch_node("n1", 2)])[0].seq == 5
    store.compact(before=5)
    store.compact(before=5)
    assert [event.seq for event in store.events()] == [5]
    assert fold(store.events(), store.base()) == store.rows()


def test_compaction_beside_writers_loses_nothing(store: Store) -> None:
    done = threading.Event()

    def compact() -> None:
        while not done.is_set():
            store.compact(before=store.rows().seq)

    thread = threading.Thread(target=compact)
    thread.start()
    try:
        for number in range(60):
            store.append([submitted(make_workload(f"t{number}"))])
    finally:
        done.set()
        thread.join()
    assert store.rows().seq == 60
    assert len(store.rows().workloads) == 60
    assert fold(store.events(), store.base()) == store.rows()


def test_a_reader_that_was_behind_a_snapshot_catches_up_by_it(store: Store) -> None:
    store.append([submitted(make_workload("a")), draft(make_node()), draft(make_node("n2"))])
    seen = fold(store.events(limit=1), store.base())
    store.append([Draft(kind=EventKind.NODE_REMOVED, at=1.0, changes=(remove(make_node()),))])
    store.compact(before=4)
    later = store.events(after=seen.seq)
    assert [(event.seq, event.kind, event.draft.changes) for event in later] == [(4, EventKind.SNAPSHOT, ())]
    assert fold(later, store.base()) == store.rows()
    assert store.events(after=4) == ()


def test_pages_of_events_go_on_behind_a_snapshot(store: Store) -> None:
    store.append([draft(make_node(f"n{number}")) for number in range(10)])
    store.compact(before=4)
    assert [event.seq for event in store.events(limit=3)] == [4, 5, 6]
    assert [event.seq for event in store.events(after=2, limit=1)] == [4]
    assert [event.seq for event in store.events(after=4, limit=3)] == [5, 6, 7]


def test_the_base_follows_touches_and_removals(store: Store) -> None:
    store.append([draft(make_node()), draft(make_node("n2")), touch_node("n1", 2)])
    store.compact(before=2)
    assert store.base().nodes == {"n1": make_node(), "n2": make_node("n2")}
    store.append([Draft(kind=EventKind.NODE_REMOVED, at=1.0, changes=(remove(make_node("n2")),))])
    store.append([draft(make_node("n2"))])
    store.compact(before=4)
    assert store.base() == fold(store.events(limit=1), store.base())
    assert (store.base().nodes["n1"].version, list(store.base().nodes), store.base().seq) == (2, ["n1"], 4)
    store.compact(before=99)
    assert store.base() == store.rows()
    assert store.rows().seq == 5


def test_the_last_event_before_a_time(store: Store) -> None:
    assert store.last_before(9.0) == 0
    for at in (1.0, 2.0, 3.0):
        store.append([draft(make_node(f"n{at}"), at=at)])
    assert [store.last_before(at) for at in (0.5, 1.0, 2.5, 9.0)] == [0, 0, 2, 3]
    store.compact(before=2)
    assert [store.last_before(at) for at in (0.5, 2.5, 9.0)] == [2, 2, 3]


def test_compaction_of_nothing_is_nothing(store: Store) -> None:
    store.compact(before=10)
    assert store.events() == ()

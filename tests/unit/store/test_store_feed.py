"""The change feed: what it answers from memory is what the store beneath would have answered."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ampacity.model.errors import StaleVersion
from ampacity.model.workload import WorkloadPhase
from ampacity.store import feed, open_store
from ampacity.store.feed import FeedStore
from ampacity.store.memory import MemoryStore
from rows import draft, ended, make_node, make_workload, submitted


class Counting(MemoryStore):
    """Counts how often its events are read."""

    reads = 0

    def events(self, **keys):  # type: ignore[no-untyped-def]
        self.reads += 1
        return super().events(**keys)


def names(store: FeedStore) -> set[str]:
    return {row.name for row in store.live_workloads()}


def test_what_was_written_since_is_answered_from_memory_and_in_pages() -> None:
    below = Counting()
    below.append([draft(make_node("n0"))])
    store = FeedStore(below)
    written = [store.append([draft(make_node(f"n{index}"))])[0] for index in range(1, 6)]
    assert store.events(after=1) == tuple(written)
    assert store.events(after=2, limit=2) == tuple(written[1:3])
    assert store.events(after=6) == ()
    assert store.events(after=99) == ()
    assert below.reads == 0
    assert [event.seq for event in store.events()] == [1, 2, 3, 4, 5, 6]
    assert below.reads == 1


def test_what_is_older_than_what_is_kept_is_read_from_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "KEPT", 4)
    below = Counting()
    store = FeedStore(below)
    for index in range(30):
        store.append([draft(make_node(f"n{index}"))])
        for after in range(index + 2):
            assert [event.seq for event in store.events(after=after)] == list(range(after + 1, index + 2))
    reads = below.reads
    store.events(after=27)
    assert below.reads == reads
    store.events(after=5)
    assert below.reads == reads + 1


def test_live_workloads_follow_every_event_and_a_start_over(tmp_path: Path) -> None:
    store = FeedStore(open_store(str(tmp_path / "store.db")))
    one, two = make_workload("one"), make_workload("two")
    store.append([submitted(one), submitted(two)])
    assert names(store) == {"one", "two"}
    running = replace(one, phase=WorkloadPhase.RUNNING, version=2)
    store.append([draft(running, workload=one.id)])
    assert {row.phase for row in store.live_workloads()} == {WorkloadPhase.RUNNING, WorkloadPhase.WAITING}
    assert store.live_counts() == {
        (one.project, WorkloadPhase.RUNNING): 1,
        (one.project, WorkloadPhase.WAITING): 1,
    }
    store.append([ended(two)])
    assert names(store) == {"one"}
    store.close()
    assert store.live_counts() == {(one.project, WorkloadPhase.RUNNING): 1}
    again = FeedStore(open_store(str(tmp_path / "store.db")))
    assert names(again) == {"one"}
    assert again.live_counts() == {(one.project, WorkloadPhase.RUNNING): 1}
    assert again.last_seq == 4
    again.close()


def test_what_was_refused_is_no_news() -> None:
    store = FeedStore(MemoryStore())
    store.append([submitted(make_workload("a"))])
    with pytest.raises(StaleVersion):
        store.append([submitted(make_workload("a"))])
    assert (store.last_seq, len(store.events()), names(store)) == (1, 1, {"a"})
    assert store.wait(after=1, timeout_s=0.0) is False


def test_who_waits_is_woken_by_the_write_itself() -> None:
    store = FeedStore(MemoryStore())
    seen: list[bool] = []
    waiter = threading.Thread(target=lambda: seen.append(store.wait(after=0, timeout_s=60.0)))
    waiter.start()
    store.append([draft(make_node())])
    waiter.join(60)
    assert seen == [True]


def test_who_follows_is_told_of_each_write_until_he_hangs_up() -> None:
    store = FeedStore(MemoryStore())
    told: list[int] = []
    hang_up = store.follow(lambda written: told.extend(event.seq for event in written))
    store.append([draft(make_node("a")), draft(make_node("b"))])
    store.append([draft(make_node("c"))])
    hang_up()
    store.append([draft(make_node("d"))])
    assert told == [1, 2, 3]


def test_many_writers_leave_no_gap() -> None:
    store = FeedStore(MemoryStore())

    def write(name: str) -> None:
        for index in range(50):
            store.append([draft(make_node(f"{name}{index}"))])

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [event.seq for event in store.events()] == list(range(1, 201))

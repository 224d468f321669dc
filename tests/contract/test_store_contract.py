"""One suite for every store: what ``store/base.py`` promises."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from ampacity.model.errors import NameTaken, Repeated, StaleVersion
from ampacity.model.event import Change, Draft, Event, EventKind, Rows, Table, Touch, fold, put, remove
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.receipt import Receipt
from ampacity.model.request_usage import RequestRecord, UsageBy, sum_of
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase
from ampacity.store.base import Store
from rows import draft, ended, make_attempt, make_node, make_workload, submitted, touch_node


def test_events_are_numbered_from_one_without_gaps(store: Store) -> None:
    first = store.append([submitted(make_workload("a")), draft(make_node())])
    second = store.append([submitted(make_workload("b"))])
    assert [event.seq for event in (*first, *second)] == [1, 2, 3]
    assert store.events() == (*first, *second)


def test_rows_are_what_the_events_amount_to(store: Store) -> None:
    workload = make_workload("a")
    store.append([submitted(workload), draft(make_node()), draft(make_attempt(), workload="wa")])
    store.append([draft(replace(workload, note="x", version=2), workload="wa"), touch_node("n1", 2)])
    assert store.rows() == fold(store.events(), store.base())
    assert store.rows().nodes["n1"].version == 2
    assert store.rows().seq == 5


def test_a_row_that_does_not_follow_is_refused_and_nothing_is_written(store: Store) -> None:
    workload = make_workload("a")
    store.append([submitted(workload)])
    before = store.rows()
    stale = replace(workload, note="late", version=1)
    ahead = replace(workload, note="early", version=3)
    for wrong in (stale, ahead):
        with pytest.raises(StaleVersion, match=r"'wa' is at version 1"):
            store.append([draft(make_node("n9")), draft(wrong)], cursors={"local": "7"})
    assert store.rows() == before
    assert store.cursors() == {}
    assert len(store.events()) == 1


def test_of_two_writers_of_one_row_the_second_is_refused(store: Store) -> None:
    workload = make_workload("a")
    store.append([submitted(workload)])
    store.append([draft(replace(workload, note="mine", version=2))])
    with pytest.raises(StaleVersion):
        store.append([draft(replace(workload, note="theirs", version=2))])


def test_a_touch_raises_the_version_alone(store: Store) -> None:
    store.append([draft(make_node())])
    store.append([touch_node("n1", 2)])
    assert store.get(Table.NODES, "n1") == replace(make_node(), version=2)
    with pytest.raises(StaleVersion):
        store.append([touch_node("n1", 2)])
    with pytest.raises(StaleVersion):
        store.append([touch_node("nowhere", 1)])


def test_a_removed_row_is_gone_and_may_come_again(store: Store) -> None:
    node = make_node()
    store.append([draft(node)])
    with pytest.raises(StaleVersion):
        store.append([Draft(kind=EventKind.NODE_REMOVED, at=1.0, changes=(remove(replace(node, version=2)),))])
    store.append([Draft(kind=EventKind.NODE_REMOVED, at=1.0, changes=(remove(node),))])
    assert store.get(Table.NODES, "n1") is None
    store.append([draft(node)])
    assert store.rows() == fold(store.events(), store.base())


def test_one_event_may_write_a_row_that_the_one_before_wrote(store: Store) -> None:
    workload = make_workload("a")
    store.append(
        [submitted(workload), draft(replace(workload, note="1", version=2)), ended(replace(workload, version=2))]
    )
    assert store.rows().workloads["wa"].phase is WorkloadPhase.SUCCEEDED


def test_a_live_name_is_taken_within_its_project_alone(store: Store) -> None:
    store.append([submitted(make_workload("a", ident="w1"))])
    with pytest.raises(NameTaken, match="'a'"):
        store.append([submitted(make_workload("a", ident="w2"))])
    store.append([submitted(make_workload("a", ident="w3", project=Project("other")))])
    store.append([ended(make_workload("a", ident="w1"))])
    store.append([submitted(make_workload("a", ident="w4"))])
    assert set(store.rows().workloads) == {"w1", "w3", "w4"}


def test_a_name_is_free_once_its_workload_is_ended_renamed_moved_or_removed(store: Store) -> None:
    def give_up(number: int) -> tuple[Workload, Draft]:
        old = make_workload(f"name{number}", ident=f"old{number}")
        another = replace(old, version=2)
        ways = (
            ended(old),
            draft(replace(another, name=f"renamed{number}")),
            draft(replace(another, project=Project("other"))),
            Draft(kind=EventKind.WORKLOAD_CHANGED, at=1.0, changes=(remove(old),)),
        )
        return old, ways[number]

    for number in range(4):
        old, way = give_up(number)
        store.append([draft(old)])
        heir = make_workload(old.name, ident=f"new{number}")
        store.append([way, draft(heir)])
        with pytest.raises(NameTaken):
            store.append([draft(make_workload(old.name, ident=f"third{number}"))])
    assert {row.id for row in store.rows().workloads.values() if row.id.startswith("new")} == {
        "new0", "new1", "new2", "new3"
    }  # fmt: skip


def test_within_one_event_a_name_may_pass_on_but_not_be_had_twice(store: Store) -> None:
    old, heir = make_workload("a", ident="w1"), make_workload("a", ident="w2")
    with pytest.raises(NameTaken):
        store.append([draft(old, heir)])
    assert store.rows() == Rows()
    store.append([draft(old)])
    store.append([draft(replace(old, phase=WorkloadPhase.SUCCEEDED, version=2), heir)])
    with pytest.raises(NameTaken):
        store.append([draft(replace(old, version=3))])


def test_stale_comes_before_taken(store: Store) -> None:
    """One who is late must read anew before the name is looked at."""
    old = make_workload("a", ident="w1")
    store.append([submitted(old), ended(old), submitted(make_workload("a", ident="w2"))])
    for late in (old, replace(old, version=2)):
        with pytest.raises(StaleVersion):
            store.append([draft(late)])


@pytest.mark.parametrize(
    ("changes", "touches"),
    [
        ((put(make_node(version=2)), put(make_node(version=2))), ()),
        ((put(make_node(version=2)), put(make_node(version=3))), ()),
        ((remove(make_node()), remove(make_node())), ()),
        ((put(make_node(version=2)),), (Touch(table=Table.NODES, key="n1", version=3),)),
        ((), (Touch(table=Table.NODES, key="n1", version=2), Touch(table=Table.NODES, key="n1", version=3))),
    ],
)
def test_an_event_that_names_a_row_twice_is_no_event(
    store: Store, changes: tuple[Change, ...], touches: tuple[Touch, ...]
) -> None:
    store.append([draft(make_node())])
    twice = Draft(kind=EventKind.NODE_CHANGED, at=1.0, changes=changes, touches=touches)
    with pytest.raises(ValueError, match=r"names nodes 'n1' more than once"):
        store.append([draft(make_node("n2")), twice], cursors={"local": "1"})
    assert store.rows().nodes == {"n1": make_node()}
    assert store.cursors() == {}
    assert fold(store.events(), store.base()) == store.rows()


def test_what_is_not_there_cannot_be_removed(store: Store) -> None:
    for version in (0, 1):
        gone = remove(make_node(version=version))
        with pytest.raises(StaleVersion):
            store.append([Draft(kind=EventKind.NODE_REMOVED, at=1.0, changes=(gone,))])
    assert store.events() == ()


def test_cursors_are_written_with_the_events_or_alone(store: Store) -> None:
    store.append([draft(make_node())], cursors={"local": "1"})
    store.append([], cursors={"local": "2", "prober": "x"})
    assert dict(store.cursors()) == {"local": "2", "prober": "x"}
    assert store.rows().seq == 1


def test_live_leaves_out_what_has_ended_but_for_what_live_ones_come_after(store: Store) -> None:
    done, apart = make_workload("done"), make_workload("apart")
    waiting = make_workload("waiting", after=(done.id,))
    store.append([submitted(done), submitted(apart), submitted(waiting), draft(make_node())])
    store.append([draft(make_attempt("wdone"), workload="wdone"), ended(done), ended(apart)])
    live = store.live()
    assert set(live.workloads) == {"wdone", "wwaiting"}
    assert set(live.specs) == {"wwaiting@1"}
    assert set(live.replicas) == {"wwaiting.0"}
    assert live.attempts == {}
    assert set(live.nodes) == {"n1"}
    assert live.seq == store.rows().seq


def test_what_is_read_is_the_readers_own(store: Store) -> None:
    store.append([submitted(make_workload("a")), draft(make_node())])
    for rows in (store.live(), store.rows(), store.of_workload(WorkloadId("wa"))):
        rows.workloads.clear()
        rows.nodes.clear()
    assert set(store.rows().workloads) == {"wa"}
    assert set(store.rows().nodes) == {"n1"}


def test_all_rows_of_one_workload(store: Store) -> None:
    store.append([submitted(make_workload("a")), submitted(make_workload("b")), draft(make_attempt(), workload="wa")])
    found = store.of_workload(WorkloadId("wa"))
    assert (set(found.workloads), set(found.specs), set(found.attempts)) == ({"wa"}, {"wa@1"}, {"wa.0.1"})
    assert store.of_workload(WorkloadId("nobody")).workloads == {}


def test_pages_of_workloads_newest_first(store: Store) -> None:
    for number in range(7):
        store.append([submitted(make_workload(f"t{number}", created_at=float(number // 2)))])
    seen: list[str] = []
    before = None
    while page := store.workloads(limit=3, before=before):
        seen += [row.id for row in page]
        before = (page[-1].created_at, page[-1].id)
    assert seen == ["wt6", "wt5", "wt4", "wt3", "wt2", "wt1", "wt0"]


def test_workloads_by_project_name_phase_and_kind(store: Store) -> None:
    a = make_workload("a")
    store.append([submitted(a), submitted(make_workload("b", kind=WorkloadKind.SERVICE))])
    store.append([submitted(make_workload("c", project=Project("p")))])
    store.append([ended(a)])
    assert [row.id for row in store.workloads(project=Project("p"))] == ["wc"]
    assert [row.id for row in store.workloads(name="b")] == ["wb"]
    assert [row.id for row in store.workloads(phases=[WorkloadPhase.SUCCEEDED])] == ["wa"]
    assert [row.id for row in store.workloads(kinds=[WorkloadKind.SERVICE])] == ["wb"]
    assert store.workloads(phases=[]) == ()


def test_pages_of_live_workloads_alone(store: Store) -> None:
    for number in range(6):
        workload = make_workload(f"t{number}", created_at=float(number // 2))
        store.append([submitted(workload)])
        if number % 3 == 0:
            store.append([ended(workload)])
    first = store.workloads(phases=[WorkloadPhase.WAITING, WorkloadPhase.RUNNING], limit=2)
    last = first[-1]
    rest = store.workloads(phases=[WorkloadPhase.WAITING], before=(last.created_at, last.id))
    assert [row.id for row in (*first, *rest)] == ["wt5", "wt4", "wt2", "wt1"]


def test_events_after_a_number_and_of_one_workload(store: Store) -> None:
    store.append([submitted(make_workload("a")), submitted(make_workload("b")), draft(make_node())])
    assert [event.seq for event in store.events(after=1)] == [2, 3]
    assert [event.seq for event in store.events(after=0, limit=2)] == [1, 2]
    assert [event.seq for event in store.events(workload=WorkloadId("wb"))] == [2]


def test_receipts_are_written_with_the_write_and_once(store: Store) -> None:
    one = Receipt(key="k", digest="d", answer=b"\x00answer", at=5.0)
    store.append([draft(make_node())], receipts=[one])
    assert store.receipt("k") == one
    assert store.receipt("other") is None
    for again in (one, replace(one, digest="another")):
        with pytest.raises(Repeated, match="'k'"):
            store.append([draft(make_node("n2"))], receipts=[again])
    with pytest.raises(StaleVersion):
        store.append([draft(make_node())], receipts=[replace(one, key="k2")])
    assert store.receipt("k2") is None
    assert list(store.rows().nodes) == ["n1"]
    store.append([], receipts=[replace(one, key="k3", at=9.0)])
    store.forget_receipts(before=9.0)
    assert (store.receipt("k"), store.receipt("k3")) == (None, replace(one, key="k3", at=9.0))


def test_finished_workloads_are_told_the_oldest_first(store: Store) -> None:
    for number, at in enumerate((30.0, 10.0, 20.0)):
        workload = make_workload(f"t{number}")
        done = replace(workload, phase=WorkloadPhase.SUCCEEDED, ended_at=at, version=2)
        store.append([submitted(workload), draft(done, kind=EventKind.WORKLOAD_ENDED, workload=workload.id)])
    store.append([submitted(make_workload("live"))])
    assert store.finished(before=30.0, limit=10) == ("wt1", "wt2")
    assert store.finished(before=99.0, limit=2) == ("wt1", "wt2")
    assert store.finished(before=10.0, limit=2) == ()


def test_an_event_comes_back_as_it_was(store: Store) -> None:
    written = store.append([replace(submitted(make_workload("a")), text="hello — ä", actor="me")])
    assert store.events() == written
    assert isinstance(written[0], Event)


def test_writers_in_several_threads_leave_no_gap_and_lose_nothing(store: Store) -> None:
    def write(part: int) -> None:
        for number in range(20):
            store.append([submitted(make_workload(f"t{part}-{number}"))])

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.seq for event in store.events()] == list(range(1, 81))
    assert len(store.rows().workloads) == 80


def test_of_many_who_raise_one_version_each_step_is_won_by_one(store: Store) -> None:
    store.append([draft(make_node())])
    wins: list[int] = []

    def race() -> None:
        while len(wins) < 20:
            standing = store.get(Table.NODES, "n1")
            assert standing is not None
            try:
                store.append([touch_node("n1", standing.version + 1)])
            except StaleVersion:
                continue
            wins.append(standing.version + 1)

    threads = [threading.Thread(target=race) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(2, len(wins) + 2))
    assert fold(store.events(), store.base()) == store.rows()


def test_a_change_carries_the_rows_own_version() -> None:
    assert put(make_node(version=4)).version == 4


def test_usage_adds_up_by_the_hour_and_is_told_by_what_is_asked_for(store: Store) -> None:
    hour = 1_790_000_000 // 86400 * 86400
    records = [
        RequestRecord(
            at=hour + at,
            project=Project(project),
            key=key,
            model=model,
            replica="r",
            status=status,
            input_tokens=10,
            cached_tokens=4,
            output_tokens=3,
            ttft_s=ttft_s,
            total_s=0.5,
            money=0.25,
        )
        for at, project, key, model, status, ttft_s in (
            (0.5, "a", "k1", "m", 200, 0.125),
            (3599.0, "a", "k1", "m", 500, None),
            (3600.0, "a", "k2", "n", 200, 0.25),
            (90000.0, "b", "", "m", 200, 0.5),
        )
    ]
    store.book_requests([sum_of(each) for each in records[:3]], cursors={"usage:w": "1"})
    store.book_requests([sum_of(records[0]), sum_of(records[3])], cursors={"usage:w": "2"})
    assert store.cursors() == {"usage:w": "2"}
    (everything,) = store.request_usage(by=())
    assert (everything.requests, everything.failed, everything.input_tokens, everything.money) == (5, 1, 50, 1.25)
    assert (everything.ttft_s, everything.ttft_count, everything.total_s) == (1.0, 4, 2.5)
    days = store.request_usage(by=(UsageBy.DAY, UsageBy.PROJECT))
    assert [(day.start, day.project, day.requests) for day in days] == [(hour, "a", 4), (hour + 86400, "b", 1)]
    keys = store.request_usage(by=(UsageBy.KEY,), project=Project("a"))
    assert [(each.key, each.requests, each.model) for each in keys] == [("k1", 3, ""), ("k2", 1, "")]
    assert [each.start for each in store.request_usage(by=(UsageBy.HOUR,), until=hour + 7200)] == [hour, hour + 3600]
    assert store.request_usage(by=(UsageBy.MODEL,), since=hour + 3600, until=hour + 7200)[0].model == "n"
    assert store.request_usage(by=(), project=Project("nobody")) == ()
    store.forget_request_usage(before=hour + 3600)
    assert sum(each.requests for each in store.request_usage(by=(UsageBy.REPLICA,))) == 2
    assert store.events() == ()

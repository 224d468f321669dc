"""Submissions of several workloads at once: files whose workloads come after one another, and arrays."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_bench import Bench, service, task

from ampacity.model.array import ArrayPlace, parse_indices
from ampacity.model.errors import InvalidSpec, NameTaken, NotFound
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT
from ampacity.model.view import WorkloadView
from ampacity.model.workload import WorkloadPhase, WorkloadSpec


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def submit(bench: Bench, *specs: WorkloadSpec, indices: tuple[int, ...] = ()) -> tuple[WorkloadView, ...]:
    views = bench.writing.submit_all(specs, project=DEFAULT_PROJECT, owner=DEFAULT_OWNER, indices=indices)
    bench.step()
    return views


def test_workloads_of_one_submission_may_come_after_one_another(bench: Bench) -> None:
    first, second, third = submit(bench, task("a"), task("b", after=("a",)), task("c", after=("b", "a")))
    assert third.workload.after == (second.workload.id, first.workload.id)
    assert bench.workload(first.workload.id).phase is WorkloadPhase.RUNNING
    for view in (first, second, third):
        bench.finish(view.workload.id)
        assert bench.workload(view.workload.id).phase is WorkloadPhase.SUCCEEDED
    bench.check()


def test_an_order_the_other_way_round_is_not_understood_and_nothing_is_written(bench: Bench) -> None:
    with pytest.raises(NotFound, match="'b'"):
        submit(bench, task("a", after=("b",)), task("b"))
    assert bench.store.rows().workloads == {}


def test_all_or_none(bench: Bench) -> None:
    submit(bench, task("taken"))
    seq = bench.store.last_seq
    for specs in ([task("a"), task("taken")], [task("a"), task("a")], [task("taken"), task("a")]):
        with pytest.raises(NameTaken):
            bench.writing.submit_all(specs, project=DEFAULT_PROJECT, owner=DEFAULT_OWNER)
    assert bench.store.last_seq == seq


def test_two_services_of_one_submission_do_not_share_a_route(bench: Bench) -> None:
    from dataclasses import replace

    one = service("one")
    assert one.service is not None
    one = replace(one, service=replace(one.service, served_name="same"))
    with pytest.raises(NameTaken, match="same submission"):
        submit(bench, one, replace(one, name="two"))


def test_the_elements_of_an_array_know_their_place(bench: Bench) -> None:
    views = submit(bench, task("sweep"), indices=(0, 2, 4))
    assert [view.workload.name for view in views] == ["sweep-0", "sweep-2", "sweep-4"]
    assert views[1].workload.array == ArrayPlace(array="sweep", index=2, size=3)
    launch = bench.driver.launch(bench.last(views[1].workload.id).key(0))
    assert (launch.env["AMPACITY_ARRAY_INDEX"], launch.env["AMPACITY_ARRAY_SIZE"]) == ("2", "3")
    for view in views:
        bench.finish(view.workload.id)
    bench.check()


@pytest.mark.parametrize(
    ("text", "indices"),
    [("5", (5,)), ("0-3", (0, 1, 2, 3)), ("7,1-2", (1, 2, 7)), ("0-10:5", (0, 5, 10)), (" 1 , 3 ", (1, 3))],
)
def test_indices(text: str, indices: tuple[int, ...]) -> None:
    assert parse_indices(text) == indices


@pytest.mark.parametrize("text", ["", "a", "1-", "-", "1:2", "3-1", "1,1", "0-5:0", "0-10000", "١", "0-9,", "1.5"])
def test_what_is_no_indices(text: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_indices(text)
    assert refused.value.where.key == "array"
    assert refused.value.hint

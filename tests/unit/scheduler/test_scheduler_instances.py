"""Instances of partitioned devices: a kind of their own, never given to who asks for devices of any kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.fits import allocate, free_on
from ampacity.model.node import Node
from ampacity.model.plan import WaitCode
from ampacity.model.workload import SpecRevision
from ampacity.scheduler import build, plan
from ampacity.scheduler.impossible import could_ever_fit
from scheduler_cluster import node, request, rows_of, workload

PROFILE = "1g.10gb"
PART = f"H100-{PROFILE}"


def parts(id: str, count: int, *, whole: int = 0) -> Node:
    """A node of which the last devices are whole: what is taken first is no instance then by its number."""
    made = node(id, devices=count + whole)
    return replace(
        made,
        devices=tuple(
            replace(device, kind=PART, profile=PROFILE) if device.index < count else device for device in made.devices
        ),
    )


def given_kinds(on: tuple[Node, ...], asked: tuple[str, ...]) -> list[str | None]:
    """The kind of each workload's only device; ``None`` for those that wait."""
    submitted = [workload(f"w{index}", request(text), created_at=index) for index, text in enumerate(asked)]
    made = plan(build(rows_of(*on, *submitted)), 100.0)
    kinds = {device.id: device.kind for each in on for device in each.devices}
    found: dict[str, str] = {
        start.workload: kinds[start.placements[0].allocation.devices[0].device] for start in made.starts
    }
    return [found.get(f"w{index}") for index in range(len(asked))]


def test_who_asks_for_any_kind_is_given_a_whole_device_or_none() -> None:
    assert given_kinds((parts("n1", 7, whole=1),), ("1", "1")) == ["H100", None]
    assert given_kinds((parts("n1", 7), parts("n2", 0, whole=1)), ("1",)) == ["H100"]
    assert given_kinds((parts("n1", 7),), ("1", "0.5", "10GB")) == [None] * 3


def test_who_asks_for_the_whole_kind_is_given_no_instance_and_the_other_way_round() -> None:
    assert given_kinds((parts("n1", 7),), ("H100", PART)) == [None, PART]
    assert given_kinds((parts("n1", 0, whole=8),), ("H100", PART)) == ["H100", None]


def test_who_asks_for_any_kind_where_there_are_only_instances_is_told_that_there_never_is_one() -> None:
    made = plan(build(rows_of(parts("n1", 7), workload("w", request("1")))), 100.0)
    assert [wait.code for wait in made.waits] == [WaitCode.IMPOSSIBLE]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1", f"asked for by their own kind: {PART}."),
        ("0.5", f"asked for by their own kind: {PART}."),
        ("H100:2", f"asked for by their own kind: {PART}."),
        ("H10O-1g.10gb", f"Did you mean {PART}?"),
        ("A100", ""),
        (f"{PART}:8", f"Ask for at most 7 {PART}."),
    ],
)
def test_who_asks_for_what_there_are_only_instances_of_is_told_how_to_ask_for_them(text: str, told: str) -> None:
    (spec,) = [row.spec for row in workload("w", request(text)) if isinstance(row, SpecRevision)]
    refusal = could_ever_fit(spec, [parts("n1", 7)])
    assert refusal is not None
    assert told in refusal.hint
    assert ("own kind" in refusal.hint, "Did you mean" in refusal.hint) == ("own kind" in told, "Did you mean" in told)


@pytest.mark.parametrize("text", ["1", "0.5", "H100"])
def test_the_commit_allots_none_either(text: str) -> None:
    there = parts("n1", 7)
    assert allocate(there, free_on(there, ()), request(text)) is None


@given(
    machines=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), min_size=1, max_size=4),
    asked=st.lists(st.sampled_from(["1", "0.5", "10GB", "H100", PART, f"{PART}:0.5"]), min_size=1, max_size=12),
)
def test_instances_are_given_to_nobody_who_does_not_name_them(
    machines: list[tuple[int, int]], asked: list[str]
) -> None:
    on = tuple(parts(f"n{index}", count, whole=whole) for index, (count, whole) in enumerate(machines))
    for text, kind in zip(asked, given_kinds(on, tuple(asked)), strict=True):
        assert kind in (None, PART if text.startswith(PART) else "H100")

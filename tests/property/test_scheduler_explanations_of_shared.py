"""What is proposed where watts, licences or counted things are short is carried out: it starts, and by less not."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.event import Row
from ampacity.model.node import Node
from ampacity.model.plan import Wait
from ampacity.model.quantities import parse_power, print_power
from ampacity.model.resources import Counted, Range, ResourceRequest
from ampacity.model.site import Site
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload

FEEDS = ("pdu-1", "pdu-2", "")


def wait_of(
    site: Site, nodes: list[Node], busy: list[tuple[Row, ...]], asked: ResourceRequest, size: int
) -> Wait | None:
    """Why ``asker`` waits; ``None`` = it starts."""
    asker = workload("asker", asked, num_nodes=Range.exactly(size))
    return next(iter(plan(build(rows_of(site, *nodes, *busy, asker)), 0.0).waits), None)


@given(
    machines=st.lists(st.tuples(st.sampled_from(FEEDS), st.integers(0, 300)), min_size=1, max_size=5),
    watts=st.tuples(st.integers(0, 700), st.integers(0, 700)),
    asked_w=st.integers(1, 400),
    size=st.integers(1, 4),
)
@settings(max_examples=200, deadline=None)
def test_watts(machines: list[tuple[str, int]], watts: tuple[int, int], asked_w: int, size: int) -> None:
    size = min(size, len(machines))
    nodes = [replace(node(f"n{index}"), feed=feed) for index, (feed, _) in enumerate(machines)]
    busy = [
        running(f"w{index}", nodes[index], replace(request(), power_w=held))
        for index, (_, held) in enumerate(machines)
        if held
    ]
    feeds = dict(zip(FEEDS, watts, strict=False))

    def starts(power_w: int = asked_w, count: int = size, more: tuple[str, int] = ("", 0)) -> bool:
        given_w = {feed: capacity + (more[1] if feed == more[0] else 0) for feed, capacity in feeds.items()}
        return wait_of(Site(feeds=given_w), nodes, busy, replace(request(), power_w=power_w), count) is None

    wait = wait_of(Site(feeds=feeds), nodes, busy, replace(request(), power_w=asked_w), size)
    if wait is None or wait.change.startswith("give "):
        return
    for proposal in wait.change.split("; or "):
        free = re.fullmatch(r"free (\w+) on (pdu-\d)", proposal)
        less, fewer = re.fullmatch(r"ask for (\w+W)", proposal), re.fullmatch(r"ask for (\d+) nodes?", proposal)
        if free is not None:
            assert starts(more=(free[2], parse_power(free[1])))
            assert not starts(more=(free[2], parse_power(free[1]) - 1))
        elif less is not None:
            most = parse_power(less[1])
            assert print_power(most) == less[1]
            assert starts(power_w=most)
            assert not starts(power_w=most + 1)
        else:
            assert fewer is not None, proposal
            assert starts(count=int(fewer[1]))
            assert not starts(count=int(fewer[1]) + 1)


@given(there=st.integers(0, 8), held=st.integers(0, 3), amount=st.integers(1, 4), size=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_licences(there: int, held: int, amount: int, size: int) -> None:
    nodes = [node(f"n{index}") for index in range(3)]

    def of(count: int) -> ResourceRequest:
        return replace(request(), licences=(Counted(name="matlab", amount=count),))

    busy = [running("w0", nodes[0], of(held))] if held else []

    def starts(count: int = amount, members: int = size, licences: int = there) -> bool:
        return wait_of(Site(licences={"matlab": licences}), nodes, busy, of(count), members) is None

    wait = wait_of(Site(licences={"matlab": there}), nodes, busy, of(amount), size)
    assert (wait is None) == (there - held >= amount * size)
    for proposal in wait.change.split("; or ") if wait is not None else ():
        free, named = re.fullmatch(r"free (\d+) matlab", proposal), re.match(r"name (\d+) matlab under", proposal)
        less, fewer = re.fullmatch(r"ask for (\d+) matlab", proposal), re.fullmatch(r"ask for (\d+) nodes?", proposal)
        for number, tried in (
            (free, lambda count: starts(licences=there + count)),
            (named, lambda count: starts(licences=count)),
        ):
            assert number is None or (tried(int(number[1])) and not tried(int(number[1]) - 1))
        for number, tried in ((less, lambda count: starts(count=count)), (fewer, lambda count: starts(members=count))):
            assert number is None or (tried(int(number[1])) and not tried(int(number[1]) + 1))
        assert any((free, named, less, fewer)), proposal


@given(
    machines=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4),
    amount=st.integers(1, 4),
    size=st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_what_is_counted_on_nodes(machines: list[tuple[int, int]], amount: int, size: int) -> None:
    def of(count: int) -> ResourceRequest:
        return replace(request(), counted=(Counted(name="fpga", amount=count),))

    nodes = [replace(node(f"n{index}"), counted={"fpga": has}) for index, (has, _) in enumerate(machines)]
    held = [min(each) for each in machines]
    busy = [running(f"w{index}", nodes[index], of(each)) for index, each in enumerate(held) if each]

    def starts(count: int, given_back: dict[str, int]) -> bool:
        more = [replace(each, counted={"fpga": each.counted["fpga"] + given_back.get(each.id, 0)}) for each in nodes]
        return wait_of(Site(), more, busy, of(count), size) is None

    wait = wait_of(Site(), nodes, busy, of(amount), size)
    if wait is None or not wait.text.startswith("needs "):
        return
    for proposal in wait.change.split("; or "):
        less = re.fullmatch(r"ask for (\d+) fpga", proposal)
        if less is not None:
            assert starts(int(less[1]), {})
            small = any(has < amount for has, _ in machines)  # nodes that could never hold what it asks for now
            assert small or not starts(int(less[1]) + 1, {})
            continue
        frees = {on: int(count) for count, on in re.findall(r"(\d+) fpga on (n\d)", proposal)}
        assert frees, proposal
        assert starts(amount, frees)
        for on in frees:
            assert not starts(amount, {**frees, on: frees[on] - 1})

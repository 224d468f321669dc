"""``fits`` and ``allocate``: what goes onto a node, by example and for generated nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.fits import Free, allocate, capacity, fits, free_on, less, matching, usable
from ampacity.model.ids import DeviceId, NodeId
from ampacity.model.node import Device, Health, Node, NodeCondition
from ampacity.model.resources import ANY_KIND, AcceleratorRequest, Allocation, DeviceShare, Range, ResourceRequest

GIB = 1 << 30


def device(index: int, *, kind: str = "H100", memory_bytes: int = 80 * GIB, health: Health = Health.OK) -> Device:
    return Device(id=DeviceId(f"d{index}"), index=index, kind=kind, memory_bytes=memory_bytes, health=health)


def node(*devices: Device) -> Node:
    return Node(id=NodeId("n"), driver="fake", cpu_milli=8000, memory_bytes=16 * GIB, disk_bytes=GIB, devices=devices)


def share(index: int, milli: int = 1000) -> DeviceShare:
    return DeviceShare(device=f"d{index}", milli=milli)


def request(*accelerators: AcceleratorRequest, cpu_milli: int = 1000, memory_bytes: int = 0) -> ResourceRequest:
    return ResourceRequest(
        accelerators=accelerators, cpu_milli=Range.at_least(cpu_milli), memory_bytes=Range.at_least(memory_bytes)
    )


def wanted(count: int, kind: str = "H100", *, milli: int = 1000, memory_bytes: int | None = None) -> AcceleratorRequest:
    return AcceleratorRequest(kind=kind, count=Range.exactly(count), milli=milli, memory_bytes=memory_bytes)


def given_devices(of: Node, used: tuple[DeviceShare, ...], *accelerators: AcceleratorRequest) -> list[str] | None:
    free = free_on(of, [Allocation(cpu_milli=0, memory_bytes=0, devices=used)])
    found = allocate(of, free, request(*accelerators))
    return None if found is None else [each.device for each in found.devices]


def test_failed_devices_are_no_capacity_and_degraded_ones_are() -> None:
    of = node(device(0), device(1, health=Health.FAILED), device(2, health=Health.DEGRADED))
    assert capacity(of).device_milli == {"d0": 1000, "d2": 1000}


@pytest.mark.parametrize("condition", NodeCondition)
def test_only_a_ready_node_takes_new_work(condition: NodeCondition) -> None:
    assert usable(replace(node(), condition=condition)) == (condition is NodeCondition.READY)


@pytest.mark.parametrize(
    ("allocation", "answer"),
    [
        (Allocation(cpu_milli=8000, memory_bytes=16 * GIB, disk_bytes=GIB, devices=(share(0), share(1))), True),
        (Allocation(cpu_milli=8001, memory_bytes=0), False),
        (Allocation(cpu_milli=0, memory_bytes=16 * GIB + 1), False),
        (Allocation(cpu_milli=0, memory_bytes=0, disk_bytes=GIB + 1), False),
        (Allocation(cpu_milli=0, memory_bytes=0, devices=(share(0, 1001),)), False),
        (Allocation(cpu_milli=0, memory_bytes=0, devices=(share(2),)), False),
        (Allocation(cpu_milli=0, memory_bytes=0, devices=(share(9),)), False),
        (Allocation(cpu_milli=0, memory_bytes=0, devices=(share(0, 500), share(0, 500))), True),
        (Allocation(cpu_milli=0, memory_bytes=0, devices=(share(0, 600), share(0, 600))), False),
    ],
)
def test_fits_is_exact_in_every_dimension(allocation: Allocation, answer: bool) -> None:
    of = node(device(0), device(1), device(2, health=Health.FAILED))
    assert fits(capacity(of), allocation) is answer


def test_whole_devices_by_ascending_index() -> None:
    of = node(*(device(index) for index in (3, 1, 2, 0)))
    assert given_devices(of, (), wanted(2)) == ["d0", "d1"]
    assert given_devices(of, (share(0, 1),), wanted(2)) == ["d1", "d2"]
    assert given_devices(of, (share(0), share(1)), wanted(3)) is None


def test_a_share_comes_from_the_fullest_device_that_holds_it() -> None:
    of = node(device(0), device(1), device(2))
    used = (share(1, 300), share(2, 700))
    assert given_devices(of, used, wanted(1, milli=300)) == ["d2"]
    assert given_devices(of, used, wanted(1, milli=301)) == ["d1"]
    assert given_devices(of, used, wanted(1, milli=701)) == ["d0"]


def test_alternatives_in_their_order() -> None:
    of = node(device(0, kind="A100"), device(1, kind="H100"))
    assert given_devices(of, (), wanted(1, "H100"), wanted(1, "A100")) == ["d1"]
    assert given_devices(of, (share(1),), wanted(1, "H100"), wanted(1, "A100")) == ["d0"]
    assert given_devices(of, (), wanted(2, "H100"), wanted(2, ANY_KIND)) == ["d0", "d1"]
    assert given_devices(of, (), wanted(1, "B200")) is None


def test_devices_with_too_little_memory_do_not_match() -> None:
    of = node(device(0, memory_bytes=40 * GIB), device(1, memory_bytes=80 * GIB))
    big = wanted(1, ANY_KIND, memory_bytes=48 * GIB)
    assert [each.id for each in matching(of, big)] == ["d1"]
    assert given_devices(of, (), big) == ["d1"]


def test_of_a_range_the_minimum_is_given() -> None:
    of = node(device(0), device(1))
    many = AcceleratorRequest(kind="H100", count=Range(minimum=1, maximum=8))
    found = allocate(of, capacity(of), replace(request(many, cpu_milli=2000, memory_bytes=GIB), disk_bytes=5))
    assert found == Allocation(cpu_milli=2000, memory_bytes=GIB, disk_bytes=5, devices=(share(0),))


KINDS = st.sampled_from(["H100", "A100"])


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    devices = [
        device(
            index,
            kind=draw(KINDS),
            memory_bytes=draw(st.sampled_from([40, 80])) * GIB,
            health=draw(st.sampled_from([Health.OK, Health.OK, Health.FAILED])),
        )
        for index in range(draw(st.integers(0, 4)))
    ]
    return node(*devices)


REQUESTS = st.builds(
    ResourceRequest,
    accelerators=st.lists(
        st.one_of(
            st.builds(wanted, st.integers(1, 4), KINDS | st.just(ANY_KIND), memory_bytes=st.none() | st.just(60 * GIB)),
            st.builds(wanted, st.just(1), KINDS | st.just(ANY_KIND), milli=st.integers(1, 999)),
        ),
        max_size=2,
    ).map(tuple),
    cpu_milli=st.integers(0, 3000).map(Range.at_least),
    memory_bytes=st.integers(0, 6).map(lambda count: Range.at_least(count * GIB)),
)


@given(of=nodes(), asked=st.lists(REQUESTS, max_size=12))
def test_a_node_filled_by_allocate_is_never_given_out_twice(of: Node, asked: list[ResourceRequest]) -> None:
    free, granted = capacity(of), []
    for each in asked:
        found = allocate(of, free, each)
        assert found == allocate(of, free, each), "the same answer to the same question"
        if found is None:
            continue
        assert fits(free, found)
        assert serves(of, each, found)
        free = less(free, found)
        granted.append(found)
    assert free == free_on(of, granted)
    assert min(free.cpu_milli, free.memory_bytes, free.disk_bytes, *free.device_milli.values()) >= 0


def serves(of: Node, asked: ResourceRequest, found: Allocation) -> bool:
    if found.cpu_milli != asked.cpu_milli.minimum or found.memory_bytes != asked.memory_bytes.minimum:
        return False
    if not asked.accelerators:
        return not found.devices
    names = [each.device for each in found.devices]
    return len(set(names)) == len(names) and any(
        len(names) == each.count.minimum
        and set(names) <= {match.id for match in matching(of, each) if match.health is not Health.FAILED}
        and all(share.milli == each.milli for share in found.devices)
        for each in asked.accelerators
    )


@given(of=nodes(), asked=REQUESTS, used=st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_no_is_only_said_where_nothing_would_do(of: Node, asked: ResourceRequest, used: list[int]) -> None:
    shares = tuple(share(index, used[index]) for index in range(len(of.devices)))
    free: Free = free_on(of, [Allocation(cpu_milli=6000, memory_bytes=12 * GIB, devices=shares)])
    if allocate(of, free, asked) is not None:
        return
    bare = Allocation(cpu_milli=asked.cpu_milli.minimum, memory_bytes=asked.memory_bytes.minimum)
    holding = [
        sum(free.device_milli.get(match.id, 0) >= each.milli for match in matching(of, each)) >= each.count.minimum
        for each in asked.accelerators
    ]
    lacks_accelerators = bool(asked.accelerators) and not any(holding)
    assert lacks_accelerators or not fits(free, bare)

"""A large cluster as rows: nodes in a tree of three tiers, queues in three levels, what runs there, and what waits."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from ampacity.model.attempt import Attempt, AttemptPhase, Member
from ampacity.model.event import Row, Rows, put
from ampacity.model.ids import DeviceId, NodeId, Owner, QueueName, WorkloadId, attempt_id
from ampacity.model.node import Device, Node
from ampacity.model.queue import Queue
from ampacity.model.resources import AcceleratorRequest, Allocation, DeviceShare, Range, ResourceRequest
from ampacity.model.site import Site
from ampacity.model.workload import (
    Desired,
    Replica,
    ReplicaPhase,
    SpecRevision,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)

DEVICES = 8
NODES = 12_500
RUNNING = 20_000
WAITING = 10_000
NODES_A_LEAF = 16
LEAVES_A_SPINE = 32
SPINES_A_POD = 4
QUEUES = (5, 3, 2)
"""So many queues at the top, so many parts of each, and parts of those: 50 in all, and work is in the lowest 30."""
CPU_MILLI = 192_000
MEMORY_BYTES = 2 * 10**12
KIND = "H100"
OWNERS_A_QUEUE = 4

# How many of 20,000 running workloads have so many devices: mostly small ones, and most devices in large ones. The
# rest have one device.
SIZES = {
    4096: 1,
    2048: 1,
    1024: 2,
    512: 8,
    256: 20,
    128: 50,
    64: 120,
    32: 300,
    16: 700,
    8: 2000,
    4: 2500,
    2: 4000,
}


SITE = Site(levels={"fabric": ("pod", "spine", "leaf")})


@dataclass(frozen=True)
class Scale:
    """How large the cluster is and how much there is to do on it."""

    nodes: int = NODES
    running: int = RUNNING
    waiting: int = WAITING

    def times(self, factor: float) -> Scale:
        return Scale(round(self.nodes * factor), round(self.running * factor), round(self.waiting * factor))


def node(index: int) -> Node:
    leaf = index // NODES_A_LEAF
    spine = leaf // LEAVES_A_SPINE
    id = f"n{index:06}"
    return Node(
        id=NodeId(id),
        driver="fake",
        cpu_milli=CPU_MILLI,
        memory_bytes=MEMORY_BYTES,
        devices=tuple(
            Device(id=DeviceId(f"{id}/{slot}"), index=slot, kind=KIND, memory_bytes=80 * 10**9)
            for slot in range(DEVICES)
        ),
        trees={"fabric": (f"pod-{spine // SPINES_A_POD:03}", f"spine-{spine:04}", f"leaf-{leaf:05}")},
    )


def queues(nodes: int) -> Iterator[Queue]:
    """The tree: everybody has a quota, all quotas together are the cluster, and what is left is lent."""
    devices_milli = nodes * DEVICES * 1000
    tops, parts, leaves = QUEUES
    for top in range(tops):
        name = QueueName(f"q{top}")
        yield Queue(name=name, weight=1.0 + top % 2, quota={KIND: devices_milli // tops})
        for part in range(parts):
            inner = QueueName(f"{name}-{part}")
            yield Queue(name=inner, parent=name, quota={KIND: devices_milli // tops // parts})
            for leaf in range(leaves):
                quota = {KIND: devices_milli // tops // parts // leaves}
                yield Queue(name=QueueName(f"{inner}-{leaf}"), parent=inner, quota=quota)


def queue_names() -> list[QueueName]:
    """Those that work goes into."""
    tops, parts, leaves = QUEUES
    return [QueueName(f"q{a}-{b}-{c}") for a in range(tops) for b in range(parts) for c in range(leaves)]


def sizes(count: int, random_: random.Random) -> list[int]:
    """Devices of so many workloads, in a random order; the largest ones first fall away where there are few."""
    found = [size for size, share in SIZES.items() for _ in range(round(share * count / RUNNING))]
    found += [1] * (count - len(found))
    random_.shuffle(found)
    return found


@dataclass(frozen=True)
class Habit:
    """People ask for about the same again and again: CPUs and memory a device, and a limit of time."""

    queue: QueueName
    owner: Owner
    cpu_milli: int
    memory_bytes: int
    limit_s: float


def _habits() -> list[Habit]:
    random_ = random.Random(1)
    return [
        Habit(
            queue=queue,
            owner=Owner(f"{queue}-u{index}"),
            cpu_milli=random_.choice((4_000, 8_000, 12_000, 16_000)),
            memory_bytes=random_.choice((32, 64, 100, 128, 200)) * 10**9,
            limit_s=random_.choice((1, 4, 12, 24, 72)) * 3600.0,
        )
        for queue in queue_names()
        for index in range(OWNERS_A_QUEUE)
    ]


def request(devices: int, habit: Habit) -> tuple[ResourceRequest, int]:
    """What one member asks for, and how many members there are: whole nodes where it needs more than one."""
    each = min(devices, DEVICES)
    return ResourceRequest(
        accelerators=(AcceleratorRequest(kind=KIND, count=Range.exactly(each)),),
        cpu_milli=Range.exactly(each * habit.cpu_milli),
        memory_bytes=Range.exactly(each * habit.memory_bytes),
    ), -(-devices // DEVICES)


HABITS = _habits()


def workload(id: str, devices: int, created_at: float, random_: random.Random) -> tuple[Row, ...]:
    """The rows of a workload that waits."""
    key = WorkloadId(id)
    habit = random_.choice(HABITS)
    asked, members = request(devices, habit)
    spec = WorkloadSpec(
        name=id,
        kind=WorkloadKind.TRAIN,
        run="python train.py",
        resources=asked,
        num_nodes=Range.exactly(members),
        priority=random_.choice((-100, 0, 0, 0, 100)),
        queue=habit.queue,
        max_duration_s=habit.limit_s,
    )
    return (
        Workload(id=key, name=id, kind=spec.kind, owner=habit.owner, created_at=created_at),
        SpecRevision(workload=key, revision=1, spec=spec),
        Desired(workload=key),
        Replica(workload=key, index=0),
    )


class Filling:
    """Gives running workloads their places: whole nodes from the front, parts of nodes from the back."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._next = 0
        self._open: list[tuple[int, int]] = []  # a node in parts and its next free slot
        self._last = len(nodes)

    def places(self, devices: int) -> list[tuple[Node, range]] | None:
        """Nodes and slots, or ``None`` when the cluster is full."""
        if devices >= DEVICES:
            count = -(-devices // DEVICES)
            if self._next + count > self._last:
                return None
            self._next += count
            return [(each, range(DEVICES)) for each in self._nodes[self._next - count : self._next]]
        for position, (index, slot) in enumerate(self._open):
            if slot + devices <= DEVICES:
                self._open[position] = index, slot + devices
                if slot + devices == DEVICES:
                    del self._open[position]
                return [(self._nodes[index], range(slot, slot + devices))]
        if self._last <= self._next:
            return None
        self._last -= 1
        self._open.append((self._last, devices))
        return [(self._nodes[self._last], range(devices))]


def running(
    id: str, devices: int, places: list[tuple[Node, range]], at: float, random_: random.Random
) -> tuple[Row, ...]:
    """The rows of a workload that runs."""
    row, spec, desired, _ = workload(id, devices, at, random_)
    assert isinstance(row, Workload)
    assert isinstance(spec, SpecRevision)
    asked = spec.spec.resources
    members = tuple(
        Member(
            index=index,
            node=on.id,
            allocation=Allocation(
                cpu_milli=asked.cpu_milli.minimum,
                memory_bytes=asked.memory_bytes.minimum,
                devices=tuple(DeviceShare(device=on.devices[slot].id, milli=1000) for slot in slots),
            ),
        )
        for index, (on, slots) in enumerate(places)
    )
    attempt = Attempt(
        id=attempt_id(row.id, 0, 1),
        workload=row.id,
        replica=0,
        epoch=1,
        spec_revision=1,
        members=members,
        phase=AttemptPhase.RUNNING,
        placed_at=at,
        started_at=at + random_.uniform(1, 60),
    )
    active = Replica(workload=row.id, index=0, phase=ReplicaPhase.ACTIVE, epoch=1)
    begun = Workload(
        id=row.id, name=row.name, kind=row.kind, owner=row.owner, created_at=at, phase=WorkloadPhase.RUNNING
    )
    return begun, spec, desired, active, attempt


def cluster(scale: Scale, random_: random.Random, now: float) -> Rows:
    """All rows. What would not fit any more is left out of what runs."""
    rows = Rows()
    for row in _cluster(scale, random_, now):
        change = put(row)
        rows.table(change.table)[change.key] = row
    return rows


def _cluster(scale: Scale, random_: random.Random, now: float) -> Iterator[Row]:
    nodes = [node(index) for index in range(scale.nodes)]
    yield SITE
    yield from queues(scale.nodes)
    yield from nodes
    filling = Filling(nodes)
    for index, devices in enumerate(sorted(sizes(scale.running, random_), reverse=True)):
        places = filling.places(devices)
        if places is not None:
            yield from running(f"r{index:06}", devices, places, now - random_.uniform(60, 86_400), random_)
    for index, devices in enumerate(sizes(scale.waiting, random_)):
        yield from workload(f"w{index:06}", devices, now - random_.uniform(0, 86_400), random_)

"""A day of mixed load on a cluster of accelerators, drawn from a seed: four teams, each with ways of its own."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ampacity.model.ids import DeviceId, NodeId, Owner, Project, QueueName
from ampacity.model.node import Device, Node
from ampacity.model.resources import AcceleratorRequest, Range, ResourceRequest
from ampacity.model.workload import CheckpointPolicy, RetryPolicy, WorkloadKind, WorkloadSpec
from ampacity.simulator import SimulatedJob

BEGIN = 1_750_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR
ON_A_NODE = 8

TEAMS = {"language": 0.45, "vision": 0.30, "science": 0.15, "products": 0.10}
"""Who asks for how much of the training load. All have the same weight: some ask for more than is theirs."""

GANGS = ((1, 0.30), (2, 0.15), (4, 0.15), (8, 0.18), (16, 0.12), (32, 0.07), (64, 0.03))
"""Accelerators of training jobs and how common they are: many small ones, and a few large ones that hold most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """``load``: what the jobs of the day need, all together, as a part of what the cluster has in a day."""

    nodes: int = 32
    load: float = 1.0
    seed: int = 0

    def machines(self) -> list[Node]:
        return [_machine(f"n{index:03}") for index in range(self.nodes)]

    def jobs(self) -> list[SimulatedJob]:
        """In the order of their submission."""
        draw = random.Random(self.seed)
        left_s = self.load * self.nodes * ON_A_NODE * DAY
        found = [*_services(draw, self.nodes), *_notebooks(draw, self.nodes), *_arrays(draw, self.nodes)]
        left_s -= sum(accelerator_s(job) for job in found)
        found.extend(_training(draw, left_s, self.nodes))
        return sorted(found, key=lambda job: (job.at, job.spec.name))


def accelerators(job: SimulatedJob) -> float:
    """How many it asks for, shares as parts, on the least number of nodes and for all its replicas."""
    spec = job.spec
    each = sum(asked.count.minimum * asked.milli / 1000 for asked in spec.resources.accelerators)
    return each * spec.num_nodes.minimum * spec.replicas


def accelerator_s(job: SimulatedJob) -> float:
    """What it needs within the day."""
    end = BEGIN + DAY
    lasts_s = job.work_s if job.work_s is not None else (end if job.stop_at is None else job.stop_at) - job.at
    return accelerators(job) * min(lasts_s, end - job.at)


def _machine(name: str) -> Node:
    devices = tuple(
        Device(id=DeviceId(f"{name}-{index}"), index=index, kind="H100", memory_bytes=80 * 10**9)
        for index in range(ON_A_NODE)
    )
    return Node(id=NodeId(name), driver="any", cpu_milli=128_000, memory_bytes=2 * 10**12, devices=devices)


def _spec(name: str, kind: WorkloadKind, team: str, devices: float, nodes: Range, **keys: Any) -> WorkloadSpec:
    share = AcceleratorRequest(
        kind="H100", count=Range.exactly(max(1, int(devices))), milli=min(1000, int(devices * 1000))
    )
    resources = ResourceRequest(
        cpu_milli=Range.exactly(int(8000 * devices)),
        memory_bytes=Range.exactly(int(devices * 100 * 10**9)),
        accelerators=(share,),
    )
    return WorkloadSpec(
        name=name, kind=kind, run="work", queue=QueueName(team), resources=resources, num_nodes=nodes, **keys
    )


def _job(draw: random.Random, at: float, spec: WorkloadSpec, work_s: float | None, **keys: Any) -> SimulatedJob:
    owner = Owner(f"{spec.queue}-{draw.randrange(4)}")
    return SimulatedJob(at=at, spec=spec, work_s=work_s, owner=owner, project=Project(str(spec.queue)), **keys)


def _hour_of_day(draw: random.Random) -> float:
    """More is submitted by day than by night: a time of the day by a raised cosine with its peak at 14 h."""
    while True:
        hour = draw.uniform(0, 24)
        if draw.random() < 0.35 + 0.65 * (1 + math.cos((hour - 14) / 24 * 2 * math.pi)) / 2:
            return hour


def _training(draw: random.Random, budget_s: float, nodes: int) -> Iterator[SimulatedJob]:
    sizes, chances = zip(*GANGS, strict=True)
    number = 0
    while budget_s > 0:
        team = draw.choices(list(TEAMS), list(TEAMS.values()))[0]
        size = min(draw.choices(sizes, chances)[0], nodes * ON_A_NODE // 2)
        work_s = min(12 * HOUR, draw.lognormvariate(math.log(2400 * size**0.3), 1.0))
        asked_s = max(600.0, work_s * draw.choice((1.2, 1.5, 2.0, 4.0)))
        each, gang = min(size, ON_A_NODE), max(1, size // ON_A_NODE)
        elastic = gang > 1 and draw.random() < 0.3
        spec = _spec(
            f"train-{number:05}",
            WorkloadKind.TRAIN,
            team,
            each,
            Range(minimum=gang // 2, maximum=gang) if elastic else Range.exactly(gang),
            max_duration_s=asked_s * (2 if elastic else 1) + 600.0,
            checkpoint=CheckpointPolicy(every_s=draw.choice((600.0, 1200.0, 1800.0))),
            retry=RetryPolicy(maximum=3),
            priority=draw.choices((0, 100), (0.9, 0.1))[0],
        )
        work_s *= 2 if elastic else 1
        job = _job(draw, BEGIN + _hour_of_day(draw) * HOUR, spec, work_s, start_s=60.0, save_s=20.0)
        budget_s -= accelerator_s(job)
        number += 1
        yield job


def _notebooks(draw: random.Random, nodes: int) -> Iterator[SimulatedJob]:
    """People at work: half of an accelerator or a whole one, for some hours of the day."""
    for number in range(nodes):
        team = draw.choices(list(TEAMS), (1, 1, 1, 1))[0]
        at = BEGIN + draw.uniform(8, 15) * HOUR
        spec = _spec(
            f"notebook-{number:04}", WorkloadKind.DEV, team, draw.choice((0.5, 0.5, 1)), Range.exactly(1), priority=100
        )
        yield _job(draw, at, spec, None, stop_at=at + draw.uniform(1, 5) * HOUR)


def _services(draw: random.Random, nodes: int) -> Iterator[SimulatedJob]:
    for number in range(max(1, nodes // 8)):
        spec = _spec(
            f"service-{number:03}", WorkloadKind.TASK, "products", draw.choice((1, 2)), Range.exactly(1), priority=200
        )
        yield _job(draw, BEGIN + draw.uniform(0, 2) * HOUR, spec, None, stop_at=BEGIN + DAY + HOUR)


def _arrays(draw: random.Random, nodes: int) -> Iterator[SimulatedJob]:
    """Many short tasks at once: an evaluation, a sweep."""
    for array in range(max(2, nodes // 4)):
        team, at = draw.choices(list(TEAMS), (2, 2, 3, 1))[0], BEGIN + _hour_of_day(draw) * HOUR
        for number in range(draw.randrange(20, 60)):
            work_s = draw.uniform(200, 1200)
            spec = _spec(
                f"array-{array:02}-{number:03}", WorkloadKind.TASK, team, 1, Range.exactly(1), max_duration_s=1800.0
            )
            yield _job(draw, at, spec, work_s)

"""Specs that come ready-made: each mistake by its key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ampacity.api.check_spec import check_spec
from ampacity.model.errors import InvalidSpec
from ampacity.model.resources import AcceleratorRequest, Range, ResourceRequest
from ampacity.model.workload import (
    CheckpointPolicy,
    ReadinessProbe,
    RetryPolicy,
    ServiceSpec,
    WorkloadKind,
    WorkloadSpec,
)

TASK = WorkloadSpec(name="x", kind=WorkloadKind.TASK, run="true")
TRAIN = replace(TASK, kind=WorkloadKind.TRAIN, num_nodes=Range.at_least(2), ranks_per_node=4)
SERVICE = replace(
    TASK, kind=WorkloadKind.SERVICE, replicas=0, retry=RetryPolicy(maximum=None), service=ServiceSpec(port=80)
)


def accelerators(**changes: Any) -> ResourceRequest:
    whole = AcceleratorRequest(kind="H100", count=Range.exactly(1))
    return ResourceRequest(accelerators=(whole, replace(whole, **changes)))


@pytest.mark.parametrize(
    "spec",
    [
        TASK,
        TRAIN,
        SERVICE,
        replace(SERVICE, run="", service=ServiceSpec(model="tiny", engine="transformers")),
        replace(TASK, resources=accelerators(milli=500), workdir="/w", envs={"_A1": ""}),
        replace(TRAIN, checkpoint=CheckpointPolicy(directory="/c", every_s=1.0), max_duration_s=0.1, grace_s=0.0),
    ],
)
def test_what_is_right_passes(spec: WorkloadSpec) -> None:
    check_spec(spec)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (replace(TASK, name=""), "name"),
        (replace(TASK, name="../x"), "name"),
        (replace(TASK, name="a" * 64), "name"),
        (replace(TASK, run=" "), "run"),
        (replace(TASK, run="a\0b"), "run"),
        (replace(TASK, service=ServiceSpec()), "service"),
        (replace(SERVICE, service=None), "service"),
        (replace(TASK, workdir="here"), "workdir"),
        (replace(TASK, envs={"A-B": "1"}), "envs"),
        (replace(TASK, num_nodes=Range.exactly(0)), "num_nodes"),
        (replace(TASK, num_nodes=Range.at_least(1)), "num_nodes"),
        (replace(TRAIN, num_nodes=Range(minimum=3, maximum=2)), "num_nodes"),
        (replace(TASK, ranks_per_node=2), "ranks_per_node"),
        (replace(TRAIN, ranks_per_node=0), "ranks_per_node"),
        (replace(TASK, replicas=2), "replicas"),
        (replace(SERVICE, replicas=-1), "replicas"),
        (replace(TASK, retry=RetryPolicy(maximum=None)), "retry.maximum"),
        (replace(TASK, retry=RetryPolicy(maximum=-1)), "retry.maximum"),
        (replace(TASK, resources=ResourceRequest(cpu_milli=Range.exactly(-1))), "resources.cpu_milli"),
        (replace(TASK, resources=ResourceRequest(memory_bytes=Range.exactly(-1))), "resources.memory_bytes"),
        (replace(TASK, resources=ResourceRequest(disk_bytes=-1)), "resources.disk_bytes"),
        (replace(TASK, resources=accelerators(kind="")), "resources.accelerators[1].kind"),
        (replace(TASK, resources=accelerators(count=Range.exactly(0))), "resources.accelerators[1].count"),
        (replace(TASK, resources=accelerators(milli=0)), "resources.accelerators[1].milli"),
        (replace(TASK, resources=accelerators(milli=500, count=Range.exactly(2))), "resources.accelerators[1].milli"),
        (replace(TASK, grace_s=-1.0), "grace_s"),
        (replace(TASK, max_duration_s=0.0), "max_duration_s"),
        (replace(TRAIN, checkpoint=CheckpointPolicy(every_s=0.0)), "checkpoint.every_s"),
        (replace(TRAIN, checkpoint=CheckpointPolicy(directory="c")), "checkpoint.directory"),
        (replace(SERVICE, service=ServiceSpec(port=70_000)), "service.port"),
        (replace(SERVICE, service=ServiceSpec(engine="vllm")), "service.engine"),
        (replace(SERVICE, service=ServiceSpec(readiness=ReadinessProbe(path="x"))), "service.readiness.path"),
        (replace(SERVICE, service=ServiceSpec(readiness=ReadinessProbe(failures=0))), "service.readiness"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(spec: WorkloadSpec, key: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        check_spec(spec)
    assert refused.value.where.key == f"spec.{key}"

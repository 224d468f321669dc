"""Attempts, nodes and models for the command line to show."""

from __future__ import annotations

import time

from ampacity.hub.version import Lineage, ModelFile, ModelVersion, Weights
from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member, Progress
from ampacity.model.ids import AttemptId, DeviceId, NodeId, WorkloadId
from ampacity.model.node import Device, Node
from ampacity.model.resources import Allocation, DeviceShare
from ampacity.model.view import NodeView

NOW = 1_790_000_000.0

EXIT_3 = Cause(kind=CauseKind.EXIT, exit_code=3)
KILLED = Cause(kind=CauseKind.SIGNAL, signal=9)
COMPLETED = Cause(kind=CauseKind.COMPLETED, exit_code=0)


def an_attempt(
    phase: AttemptPhase = AttemptPhase.RUNNING,
    *,
    cause: Cause | None = None,
    nodes: tuple[str, ...] = ("n1",),
    replica: int = 0,
    ready: bool = False,
    progress: Progress | None = None,
    started_s_ago: float | None = 60.0,
) -> Attempt:
    now = time.time()
    return Attempt(
        id=AttemptId(f"w.{replica}.1"),
        workload=WorkloadId("w"),
        replica=replica,
        epoch=1,
        spec_revision=1,
        members=tuple(
            Member(index=index, node=NodeId(node), allocation=Allocation(cpu_milli=1000, memory_bytes=0))
            for index, node in enumerate(nodes)
        ),
        phase=phase,
        placed_at=now - 61,
        started_at=None if started_s_ago is None else now - started_s_ago,
        ended_at=now if phase.ended else None,
        ready=ready,
        progress=progress,
        cause=cause,
    )


def a_node(name: str, *, gpus: int = 0, used_gpus: int = 0, used_cpus: float = 0, declared: bool = True) -> NodeView:
    devices = tuple(
        Device(id=DeviceId(f"{name}/{index}"), index=index, kind="H100", memory_bytes=80 * 10**9)
        for index in range(gpus)
    )
    node = Node(
        id=NodeId(name), driver="local", cpu_milli=8000, memory_bytes=32 * 10**9, devices=devices, declared=declared
    )
    shares = tuple(DeviceShare(device=f"{name}/{index}", milli=1000) for index in range(used_gpus))
    used = Allocation(cpu_milli=round(used_cpus * 1000), memory_bytes=4 * 10**9 if used_cpus else 0, devices=shares)
    return NodeView(node=node, used=used, attempts=tuple(f"w{index}.0.1" for index in range(used_gpus)))


def a_model(name: str, version: int = 1, *, tags: tuple[str, ...] = ("latest",), run: str = "train-1") -> ModelVersion:
    files = (
        ModelFile(path="config.json", digest="sha256:" + "a1" * 32, size_bytes=1_234),
        ModelFile(path="model.safetensors", digest="sha256:" + "b2" * 32, size_bytes=988_100_000),
    )
    return ModelVersion(
        name=name,
        version=version,
        digest="sha256:" + "cd" * 32,
        created_at=time.time() - 7300,
        files=files,
        size_bytes=sum(file.size_bytes for file in files),
        weights=Weights(parameters=494_032_768, tensors=290, dtypes={"BF16": 494_032_768}),
        architecture="Qwen2ForCausalLM",
        lineage=Lineage(
            run="w0001",
            run_name=run,
            project="default",
            step=400,
            code_revision="9f3c2d1",
            data=("corpus:3",),
            checkpoint="/ckpt/step-400",
        ),
        tags=tags,
    )

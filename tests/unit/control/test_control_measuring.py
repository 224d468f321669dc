"""The labels of what was measured: DCGM's, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ampacity.control.figures import Figures
from ampacity.control.measuring import Measuring
from ampacity.model.attempt import Attempt, AttemptPhase, Member
from ampacity.model.ids import DeviceId, NodeId, Owner, Project, WorkloadId, attempt_id
from ampacity.model.node import Device, Node
from ampacity.model.resources import Allocation, DeviceShare
from ampacity.model.workload import Workload, WorkloadKind
from ampacity.observe.device_probe import Probe
from ampacity.observe.devices.nvidia import NvidiaReader
from ampacity.observe.measured import MetricsFolder, Series
from nvml_double import Nvml, Part, xid

PARTS = (Part(1, 0, profile="1c.3g.40gb"), Part(1, 1, profile="1c.3g.40gb"), Part(9))
HELD, FREE = PARTS[2], PARTS[0]


def device(index: int, part: Part) -> Device:
    return Device(
        id=DeviceId(f"n1/{index}"),
        index=index,
        kind=f"H100-{part.profile}",
        memory_bytes=0,
        profile=part.profile,
        vendor="nvidia",
        uuid=part.uuid,
        bus="0000:1a:00.0",
    )


def control() -> Any:
    """As much of it as is asked: a node with instances, the last of which a workload holds."""
    devices = tuple(device(2 + index, part) for index, part in enumerate(PARTS))
    node = Node(id=NodeId("n1"), driver="local", cpu_milli=1, memory_bytes=1, devices=devices)
    share = DeviceShare(device=devices[-1].id, milli=1000)
    allocation = Allocation(cpu_milli=1, memory_bytes=0, devices=(share,))
    ident = WorkloadId("w1")
    attempt = Attempt(
        id=attempt_id(ident, 0, 1),
        workload=ident,
        replica=0,
        epoch=1,
        spec_revision=1,
        members=(Member(index=0, node=node.id, allocation=allocation),),
        phase=AttemptPhase.RUNNING,
        owner=Owner("ada"),
        project=Project("vision"),
    )
    return SimpleNamespace(nodes=(node,), mirror=SimpleNamespace(rows=SimpleNamespace(attempts={attempt.id: attempt})))


@pytest.fixture
def measuring(tmp_path: Path) -> Iterator[Measuring]:
    (tmp_path / "metrics").mkdir()
    nvml = Nvml()
    nvml.parts = {0: list(PARTS)}
    reader = NvidiaReader(nvml)
    nvml.events = [xid(0, 31, 9, 0)]
    Probe(reader, str(tmp_path / "metrics")).sample(1000.0)
    row = Workload(id=WorkloadId("w1"), name="notebook", kind=WorkloadKind.DEV, created_at=0.0)
    store: Any = SimpleNamespace(live_workloads=lambda: (row,))
    folder = MetricsFolder(tmp_path)
    yield Measuring(folder, store, control(), Figures(), lambda: 1000.0)
    folder.close()


def series_of(measuring: Measuring, name: str) -> Series:
    """The instance's of that name, or the device's."""
    return next(
        each for each in measuring.measurements().devices if each.labels.get("MIG_UUID", each.labels["UUID"]) == name
    )


def test_an_instance_has_its_devices_labels_and_what_tells_it_apart(measuring: Measuring) -> None:
    labels = dict(series_of(measuring, HELD.uuid).labels)
    labels.pop("Hostname")
    assert labels == {
        "gpu": "0",
        "UUID": "GPU-0",
        "pci_bus_id": "00000000:1A:00.0",
        "device": "nvidia0",
        "modelName": "NVIDIA H100 80GB HBM3",
        "GPU_I_PROFILE": "1g.10gb",
        "GPU_I_ID": "9",
        "MIG_UUID": HELD.uuid,
        "node": "n1",
        "workload": "notebook",
        "project": "vision",
        "owner": "ada",
        "attempt": "w1.0.1",
        "kind": "H100-1g.10gb",
    }
    assert "workload" not in series_of(measuring, FREE.uuid).labels
    named = [each.labels for each in measuring.measurements().devices]
    assert len({tuple(sorted(labels.items())) for labels in named}) == len(named) == 5


def test_what_is_the_whole_devices_stands_with_it_and_it_is_marked(measuring: Measuring) -> None:
    gpu, part, whole = (series_of(measuring, name) for name in ("GPU-0", HELD.uuid, "GPU-1"))
    assert gpu.labels["partitioned"] == "true"
    assert not {"GPU_I_ID", "GPU_I_PROFILE", "workload"} & gpu.labels.keys()
    assert "partitioned" not in whole.labels
    assert gpu.values["power_w"] == 650.5
    assert "memory_used_bytes" not in gpu.values
    assert part.values.keys() == {"memory_used_bytes", "memory_free_bytes", "xid", "xid_events"}
    assert gpu.values["xid"] == part.values["xid"] == 31
    text = measuring.metrics(openmetrics=False).decode()
    used = [line for line in text.splitlines() if line.startswith("DCGM_FI_DEV_FB_USED{")]
    assert len(used) == 4  # each instance, and the device that is whole: their sum counts nothing twice

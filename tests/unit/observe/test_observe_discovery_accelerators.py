"""Accelerators of this machine: found by their readers, in a process that may hang or fail."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ampacity.drivers.local.machine import devices_of, this_machine, with_devices
from ampacity.model.ids import NodeId
from ampacity.observe.devices.nvidia import NvidiaReader
from ampacity.observe.discovery import accelerators as discovery
from ampacity.observe.discovery.accelerators import Accelerators, Partitioned, accelerators, look, short_kind
from ampacity.observe.discovery.tree import Tree
from machine_tree import MachineTree
from nvml_double import Nvml, Part

NODE = NodeId("n1")

DOUBLE = """
import os, time
from ampacity.observe.devices.base import DeviceIdentity, ReadFailed

class Reader:
    def devices(self):
        names = ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"]
        return [DeviceIdentity(index=i, vendor="x", kind=name) for i, name in enumerate(names)]
    def read(self, index):
        return {"memory_used_bytes": 1e9, "memory_free_bytes": 79e9} if index == 0 else {}
    def processes(self, index): return {}
    def close(self): pass

def none():
    reader = Reader()
    reader.devices = lambda: []
    return reader
def empty():
    reader = Reader()
    device = DeviceIdentity(index=0, vendor="x", kind="NVIDIA H100", bus="0000:1b:00.0", partitioned=True)
    reader.devices = lambda: [device]
    return reader
def hangs(): time.sleep(600)
def fails(): raise ReadFailed("the driver is sick")
def crashes(): os.abort()
"""


@pytest.fixture
def doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "doubled_vendor.py").write_text(DOUBLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_what_the_reader_finds_is_what_the_node_has(doubles: None, tmp_path: Path) -> None:
    found = accelerators(("doubled_vendor:none", "doubled_vendor:Reader"))
    assert [(device.id, device.index, device.kind, device.memory_bytes) for device in devices_of(NODE, found)] == [
        ("n1/0", 0, "H100", 80_000_000_000),
        ("n1/1", 1, "A100", 0),
    ]


@pytest.mark.parametrize(
    ("how", "limit_s", "told"),
    [("hangs", 0.5, "do not answer"), ("fails", 60.0, "the driver is sick"), ("crashes", 60.0, "cannot be read")],
)
def test_a_sick_driver_is_told_and_counts_as_none(
    doubles: None, caplog: pytest.LogCaptureFixture, how: str, limit_s: float, told: str
) -> None:
    with caplog.at_level(logging.ERROR):
        found = accelerators((f"doubled_vendor:{how}",), limit_s=limit_s)
    assert found == Accelerators(problem=found.problem)
    assert told in found.problem
    assert told in caplog.text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H200", "H200"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTXPRO6000"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Something", "Something"),
    ],
)
def test_kinds_are_told_as_people_ask_for_them(name: str, kind: str) -> None:
    assert short_kind(name) == kind


# Partitioned devices -------------------------------------------------------------------------------------------------


def looked_at(nvml: Nvml, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Accelerators:
    """What NVML tells of a machine whose first device is at the second NUMA node."""
    machine = MachineTree(folder)
    machine.pci("pci0000:80/0000:1a:00.0", vendor="0x10de", device="0x2330", kind="0x030200", numa=1)
    tree = Tree(folder)
    monkeypatch.setattr(discovery, "open_reader", lambda vendor: NvidiaReader(nvml, tree))
    return look("nvidia", tree)


def test_a_partitioned_device_is_listed_as_its_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    nvml.parts = {0: [Part(9), Part(2, profile="3g.40gb+me", memory_mib=40448, slices=(3, 3))]}
    found = looked_at(nvml, tmp_path, monkeypatch)
    assert [
        (each.index, each.kind, each.profile, each.instance, each.memory_bytes >> 20) for each in found.devices
    ] == [
        (1, "H100", "", "", 80 << 10),
        (2, "H100-3g.40gb+me", "3g.40gb+me", "2/0", 40448),
        (3, "H100-1g.10gb", "1g.10gb", "9/0", 9984),
    ]
    of_first = found.devices[1:]
    assert {(each.bus, each.numa_node) for each in of_first} == {("0000:1a:00.0", 1)}
    assert {each.pci_path for each in of_first} == {"pci0000:80/0000:1a:00.0"}
    assert all(each.uuid.startswith("MIG-") for each in of_first)
    (gpu,) = found.partitioned
    assert (gpu.bus, gpu.index, gpu.instances) == ("0000:1a:00.0", 0, 2)


def test_an_instance_was_reset_with_its_device_but_has_no_part_in_its_memory_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Nvml()
    nvml.parts = {0: [Part(9)]}
    whole, part = looked_at(nvml, tmp_path, monkeypatch).devices
    assert whole.counters == {"energy_j": 12345.678, "ecc_uncorrected": 1}
    assert part.counters.keys() == {"energy_j", "pci_entry"}
    assert part.counters["energy_j"] == 12345.678


def test_the_trouble_of_a_device_is_that_of_its_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    nvml.parts = {0: [Part(9)]}
    nvml.fields[nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION] = nvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET
    part = looked_at(nvml, tmp_path, monkeypatch).devices[-1]
    assert (part.profile, part.trouble) == ("1g.10gb", "its driver says that it has to be reset")


def test_a_partitioned_device_without_instances_offers_nothing_and_the_node_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Nvml()
    nvml.parts = {0: [], 1: [Part(9)]}
    found = looked_at(nvml, tmp_path, monkeypatch)
    assert [each.kind for each in found.devices] == ["H100-1g.10gb"]
    machine = this_machine(tmp_path)
    node = with_devices(machine, devices_of(machine.id, found), found)
    (problem,) = set(node.hardware.problems) - set(machine.hardware.problems)
    assert problem.startswith(
        "nvidia device 0 (NVIDIA H100 80GB HBM3, 0000:1a:00.0) is in MIG mode and has no instances"
    )
    nvml.parts[1] = []
    found = looked_at(nvml, tmp_path / "again", monkeypatch)
    assert (found.devices, len(found.partitioned)) == ((), 2)


def test_partitioned_devices_come_through_the_looking_process(doubles: None) -> None:
    (gpu,) = accelerators(("doubled_vendor:empty",)).partitioned
    assert gpu == Partitioned(vendor="x", bus="0000:1b:00.0", index=0, name="NVIDIA H100", instances=0)

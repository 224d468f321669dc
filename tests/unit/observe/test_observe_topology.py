"""How a machine's devices are joined: NVLink, xGMI, PCI; and the look at the machine in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ampacity.model.hardware import DeviceLink, RdmaPort
from ampacity.model.nearness import Nearness, nearest, nearness
from ampacity.observe.devices.nvlink import nvlinks
from ampacity.observe.devices.xgmi import XGMI, xgmi_links
from ampacity.observe.discovery.machine import look_at_hardware
from ampacity.observe.discovery.tree import Tree
from machine_tree import MachineTree

A, B, C = "0000:1b:00.0", "0000:1c:00.0", "0000:1d:00.0"
GPU, SWITCH = 0, 2


class NvlinkDouble:
    """``ends``: by device, what each of its links leads to: an address, the switch, or ``None`` when it is down."""

    NVMLError = type("NVMLError", (Exception,), {})
    NVML_NVLINK_MAX_LINKS, NVML_NVLINK_DEVICE_TYPE_GPU, NVML_NVLINK_DEVICE_TYPE_SWITCH = 4, GPU, SWITCH

    def __init__(self, ends: dict[str, list[object]]) -> None:
        self.ends = ends

    def nvmlDeviceGetPciInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802 - NVML's own names
        return SimpleNamespace(busId=b"0000" + handle.upper().encode())

    def nvmlDeviceGetNvLinkState(self, handle: str, link: int) -> bool:  # noqa: N802
        if link >= len(self.ends[handle]):
            raise self.NVMLError
        return self.ends[handle][link] is not None

    def nvmlDeviceGetNvLinkRemoteDeviceType(self, handle: str, link: int) -> int:  # noqa: N802
        return SWITCH if self.ends[handle][link] == SWITCH else GPU

    def nvmlDeviceGetNvLinkRemotePciInfo(self, handle: str, link: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(busId=f"0000{self.ends[handle][link]}".encode())


def test_direct_links_are_counted_by_pair() -> None:
    nvml = NvlinkDouble({A: [B, B, C, None], B: [A, A], C: [A, "0000:aa:00.0"]})
    assert nvlinks(nvml, [A, B, C]) == (
        DeviceLink(a=A, b=B, kind="NVLink", lanes=2),
        DeviceLink(a=A, b=C, kind="NVLink", lanes=1),
    )


def test_through_switches_each_pair_has_as_many_as_the_weaker() -> None:
    nvml = NvlinkDouble({A: [SWITCH] * 4, B: [SWITCH, SWITCH, None], C: []})
    assert nvlinks(nvml, [A, B, C]) == (DeviceLink(a=A, b=B, kind="NVLink", lanes=2),)


def test_xgmi_links_are_told_once_and_pci_ones_are_none(tmp_path: Path) -> None:
    machine, nodes = MachineTree(tmp_path), "/sys/class/kfd/kfd/topology/nodes"
    machine.file(f"{nodes}/0/properties", "cpu_cores_count 64\nsimd_count 0\nlocation_id 0")
    for name, location in ((1, 0x1B << 8), (2, 0x1C << 8)):
        machine.file(f"{nodes}/{name}/properties", f"simd_count 304\nlocation_id {location}\ndomain 0")
        machine.file(f"{nodes}/{name}/io_links/0/properties", f"type 2\nnode_from {name}\nnode_to 0")
        machine.file(f"{nodes}/{name}/io_links/1/properties", f"type {XGMI}\nnode_from {name}\nnode_to {3 - name}")
    assert xgmi_links(Tree(tmp_path)) == (DeviceLink(a=A, b=B, kind="xGMI"),)
    assert xgmi_links(Tree(tmp_path / "none")) == ()


def port(path: str, numa: int | None = None, name: str = "x") -> RdmaPort:
    return RdmaPort(device=name, pci_path=path, numa_node=numa)


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        (port("pci0000:10/0000:10:01.0/0000:11:00.0"), port("pci0000:10/0000:10:01.0/0000:12:00.0"), Nearness.BRIDGE),
        (port("pci0000:10/0000:10:01.0/0000:11:00.0"), port("pci0000:10/0000:10:02.0/0000:12:00.0"), Nearness.HOST),
        (port("pci0000:10/0000:10:01.0/0000:11:00.0", 0), port("pci0000:20/0000:20:01.0", 0), Nearness.NUMA),
        (port("pci0000:10/0000:10:01.0/0000:11:00.0", 0), port("pci0000:20/0000:20:01.0", 1), Nearness.SYSTEM),
        (port("pci0000:10/0000:10:01.0"), port("pci0000:20/0000:20:01.0"), Nearness.SYSTEM),
        (port("pci0000:10/0000:10:01.0"), port(""), None),
    ],
)
def test_how_near_two_devices_are(one: RdmaPort, other: RdmaPort, near: Nearness | None) -> None:
    assert nearness(one, other) is nearness(other, one) is near


def test_all_that_are_nearest_are_told() -> None:
    device = port("pci0000:10/0000:10:01.0/0000:11:00.0")
    far, one, two = (
        port("pci0000:20/0000:20:01.0", name="far"),
        port("pci0000:10/0000:10:01.0/0000:12:00.0", name="one"),
        port("pci0000:10/0000:10:01.0/0000:13:00.0", name="two"),
    )
    assert nearest(device, [far, one, two]) == ((one, two), Nearness.BRIDGE)
    assert nearest(device, [port("")]) is None


def test_the_machine_is_looked_at_in_a_process_that_may_hang(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path)
    machine.cpus(sockets=1, cores=2, threads=2, model="x")
    assert look_at_hardware(Tree(tmp_path), limit_s=120.0).processor.threads == 4
    os.remove(tmp_path / "proc/cpuinfo")
    os.mkfifo(tmp_path / "proc/cpuinfo")  # a file that never answers
    (problem,) = look_at_hardware(Tree(tmp_path), limit_s=0.5).problems
    assert "within 0.5 s" in problem

"""Which device files a member may not open."""

from __future__ import annotations

from pathlib import Path

import pytest

from ampacity.drivers.local.device_files import denials
from ampacity.model.ids import DeviceId
from ampacity.model.node import Device
from ampacity.observe.discovery.tree import Tree
from machine_tree import MachineTree

PLACES = ("pci0000:00/0000:03:00.0", "pci0000:00/0000:0a:00.0", "pci0000:80/0000:8b:00.0")


@pytest.fixture
def machine(tmp_path: Path) -> MachineTree:
    return MachineTree(tmp_path)


def devices(vendor: str, *, addressed: bool = True) -> tuple[Device, ...]:
    return tuple(
        Device(
            id=DeviceId(f"n/{index}"),
            index=index,
            kind="x",
            memory_bytes=0,
            vendor=vendor,
            bus=place.rpartition("/")[2] if addressed else "",
        )
        for index, place in enumerate(PLACES)
    )


def nvidia(machine: MachineTree) -> None:
    """Their files are not numbered in the order of their addresses. ``/dev/zero`` is 1:5, ``/dev/null`` 1:3."""
    machine.folder("/dev")
    for place, minor, real in zip(PLACES, (0, 1, 2), ("zero", "null", "null"), strict=True):
        machine.file(f"/proc/driver/nvidia/gpus/{place.rpartition('/')[2]}/information", f"Device Minor: \t {minor}")
        (machine.root / "dev" / f"nvidia{minor}").symlink_to(f"/dev/{real}")


def of_class(machine: MachineTree, folder: str, *names: str) -> None:
    for index, place in enumerate(PLACES):
        at = machine.pci(place, vendor="0x1002", device="0x74a1", kind="0x120000")
        for name in names:
            entry = f"/sys/class/{folder}/{name}{index}"
            machine.file(f"{entry}/dev", f"226:{sum(name.encode()) % 7 * 64 + index}")
            machine.link(f"{entry}/device", at)


@pytest.mark.parametrize("addressed", [True, False])
def test_nvidias_by_the_number_of_their_file(machine: MachineTree, addressed: bool) -> None:
    nvidia(machine)
    known, tree = devices("nvidia", addressed=addressed), Tree(machine.root)
    assert denials(known[1:2], known, tree) == ["c 1:5 rwm", "c 1:3 rwm"]
    assert denials(known, known, tree) == []
    assert denials((), known, tree) == ["c 1:5 rwm", "c 1:3 rwm"]
    assert denials((), known, Tree(machine.root / "none")) == []


def test_nvidias_are_told_by_their_address_when_one_is_lost(machine: MachineTree) -> None:
    nvidia(machine)
    lost = machine.root / "proc/driver/nvidia/gpus/0000:03:00.0"
    (lost / "information").unlink()
    lost.rmdir()
    known = devices("nvidia")
    assert denials(known[1:2], known, Tree(machine.root)) == ["c 1:3 rwm"]


@pytest.mark.parametrize(
    ("vendor", "folder", "names"),
    [("amd", "drm", ("card", "renderD")), ("intel", "drm", ("card", "renderD")), ("habana", "accel", ("accel",))],
)
def test_others_by_what_the_kernel_lists_of_their_address(
    machine: MachineTree, vendor: str, folder: str, names: tuple[str, ...]
) -> None:
    of_class(machine, folder, *names)
    screen = machine.pci("pci0000:00/0000:00:02.0", vendor="0x8086", device="0x4680", kind="0x030000")
    machine.file("/sys/class/drm/card9/dev", "226:9")
    machine.link("/sys/class/drm/card9/device", screen)
    known, tree = devices(vendor), Tree(machine.root)
    numbers = {
        (machine.root / f"sys/class/{folder}/{name}{index}/dev").read_text().strip()
        for name in names
        for index in (0, 2)
    }
    assert set(denials(known[1:2], known, tree)) == {f"c {number} rwm" for number in numbers}
    assert denials(known, known, tree) == []
    assert denials((), (), tree) == []

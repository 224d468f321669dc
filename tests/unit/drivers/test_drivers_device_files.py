"""Which device files a member may not open."""

from __future__ import annotations

from dataclasses import replace
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


# Partitioned devices -------------------------------------------------------------------------------------------------

DEVICES = """Character devices:
  1 mem
195 nvidia
234 nvidia-caps
235 nvidia-caps-imex-channels

Block devices:
  234 virtblk
"""


def mig_minors(*gpus: int) -> str:
    """As NVIDIA's driver lists them: of each GPU (by the number of its file) all instances that may ever be made."""
    names = ["config", "monitor"]
    for gpu in gpus:
        for gpu_instance in range(2):
            place = f"gpu{gpu}/gi{gpu_instance}"
            names += [f"{place}/access", *(f"{place}/ci{each}/access" for each in range(2))]
    return "\n".join(f"{name} {minor}" for minor, name in enumerate(names, 1))


def instance(gpu: int, name: str) -> Device:
    (whole,) = devices("nvidia")[gpu : gpu + 1]
    return replace(whole, profile="1g.10gb", instance=name, uuid=f"MIG-{gpu}/{name}")


@pytest.fixture
def with_instances(machine: MachineTree) -> Tree:
    nvidia(machine)
    machine.file("/proc/devices", DEVICES)
    machine.file("/proc/driver/nvidia-caps/mig-minors", mig_minors(0, 1, 2))
    return Tree(machine.root)


def test_of_instances_those_that_were_not_given_and_what_rules_them_all(with_instances: Tree) -> None:
    given = [instance(1, "0/1")]
    others = [instance(1, "0/0"), instance(1, "1/0"), *devices("nvidia")[::2]]
    denied = denials(given, [*given, *others], with_instances)
    assert denied[:2] == ["c 1:5 rwm", "c 1:3 rwm"]  # the files of the two devices of which it has nothing
    # config, monitor, and of the second device all but gi0/access (9) and gi0/ci1/access (11)
    assert denied[2:] == [f"c 234:{minor} rwm" for minor in (1, 2, 10, 12, 13, 14)]


def test_two_instances_of_one_device_and_one_of_another(with_instances: Tree) -> None:
    given = [instance(1, "0/0"), instance(1, "1/1"), instance(2, "0/0")]
    denied = denials(given, [*given, *devices("nvidia")[:1]], with_instances)
    assert denied == ["c 1:5 rwm", *(f"c 234:{minor} rwm" for minor in (1, 2, 11, 13, 17, 18, 19, 20))]


def test_who_was_given_whole_devices_alone_is_kept_from_the_others_by_their_own_files(with_instances: Tree) -> None:
    known = [*devices("nvidia")[:2], instance(2, "0/0")]
    assert denials(known[:1], known, with_instances) == ["c 1:3 rwm"]
    assert denials((), known, with_instances) == ["c 1:5 rwm", "c 1:3 rwm"]


@pytest.mark.parametrize("missing", ["proc/devices", "proc/driver/nvidia-caps/mig-minors"])
def test_a_driver_without_such_files_has_none_to_deny(machine: MachineTree, with_instances: Tree, missing: str) -> None:
    (machine.root / missing).unlink()
    given = [instance(1, "0/0")]
    assert denials(given, given, with_instances) == ["c 1:5 rwm", "c 1:3 rwm"]

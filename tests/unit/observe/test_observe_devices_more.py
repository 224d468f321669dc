"""Readers of Intel's, Habana's and Apple's devices, over trees of files and command doubles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ampacity.observe.devices import apple, habana, intel
from ampacity.observe.devices.apple import AppleReader
from ampacity.observe.devices.base import DeviceReader, ReadFailed
from ampacity.observe.devices.habana import HabanaReader
from ampacity.observe.devices.intel import IntelReader
from ampacity.observe.discovery import accelerators
from ampacity.observe.discovery.tree import Tree
from machine_tree import MachineTree

GB, GIB = 10**9, 1 << 30
MAX = "pci0000:15/0000:15:01.0/0000:16:00.0"
ARC = "pci0000:80/0000:80:01.0/0000:81:00.0"


@pytest.fixture
def machine(tmp_path: Path) -> MachineTree:
    return MachineTree(tmp_path)


def intel_machine(machine: MachineTree) -> IntelReader:
    """A Max 1550 of two tiles under xe, an Arc under i915, and graphics in the processor."""
    inside = machine.pci("pci0000:00/0000:00:02.0", vendor="0x8086", device="0x4680", kind="0x030000")
    big = machine.pci(MAX, vendor="0x8086", device="0x0bd5", kind="0x038000", numa=0)
    arc = machine.pci(ARC, vendor="0x8086", device="0x56a0", kind="0x030000", numa=1)
    other = machine.pci("pci0000:90/0000:90:00.0", vendor="0x1002", device="0x74a1", kind="0x038000")
    for name, place in (("card0", inside), ("card1", arc), ("card2", big), ("card3", other), ("renderD128", big)):
        machine.link(f"/sys/class/drm/{name}/device", place)
    for tile in ("tile0", "tile1"):
        machine.file(f"{big}/{tile}/physical_vram_size_bytes", 64 * GIB)
    machine.file(f"{big}/tile0/gt0/freq0/act_freq", 1550)
    machine.files(f"{big}/hwmon/hwmon3", power1_max=600_000_000, energy1_input=1_234_000_000)
    machine.files(f"{big}/hwmon/hwmon3", temp2_input=51_000, temp3_input=47_000)
    machine.file("/sys/class/drm/card1/lmem_total_bytes", 16 * GIB)
    machine.file("/sys/class/drm/card1/gt/gt0/rps_act_freq_mhz", 2400)
    machine.files(f"{arc}/hwmon/hwmon4", temp1_input=40_000)
    machine.file(f"{other}/tile0/physical_vram_size_bytes", GIB)
    return IntelReader(Tree(machine.root))


def habana_machine(machine: MachineTree) -> HabanaReader:
    """Two Gaudi 2, whose module numbers are not in the order of their addresses, and another maker's device."""
    places = [f"pci0000:{bus}/0000:{bus}:00.0" for bus in ("19", "1a", "1b")]
    for index, (path, vendor) in enumerate(zip(places, ("0x1da3", "0x1da3", "0x8086"), strict=True)):
        place = machine.pci(path, vendor=vendor, device="0x1020", kind="0x120000", numa=index)
        machine.files(place, device_type="GAUDI2", status="operational", module_id=1 - index)
        machine.files(place, max_power=600_000, clk_cur_freq_mhz=1650)
        machine.files(f"{place}/hwmon/hwmon{index}", power1_input=421_000_000, temp1_input=44_000)
        machine.link(f"/sys/class/accel/accel{index}/device", place)
    return HabanaReader(Tree(machine.root))


def test_intel_cards_with_memory_of_their_own_are_found_in_the_order_of_their_addresses(machine: MachineTree) -> None:
    first, second = intel_machine(machine).devices()
    assert (first.index, first.kind, first.bus) == (0, "Intel Data Center GPU Max 1550", "0000:16:00.0")
    assert first.memory_bytes == 128 * GIB
    assert (second.index, second.kind, second.bus) == (1, "Intel Arc A770", "0000:81:00.0")
    assert second.memory_bytes == 16 * GIB


def test_intel_values_are_read_where_either_driver_has_them(machine: MachineTree) -> None:
    reader = intel_machine(machine)
    assert reader.read(0) == {
        "power_limit_w": 600,
        "energy_j": 1234,
        "temperature_c": 51,
        "memory_temperature_c": 47,
        "sm_clock_mhz": 1550,
    }
    assert reader.read(1) == {"temperature_c": 40, "sm_clock_mhz": 2400}
    reader.close()
    assert reader.read(0) == {}


def test_gaudis_are_counted_by_their_module(machine: MachineTree) -> None:
    reader = habana_machine(machine)
    assert [(each.index, each.kind, each.bus, each.memory_bytes) for each in reader.devices()] == [
        (0, "Gaudi2", "0000:1a:00.0", 96 * GB),
        (1, "Gaudi2", "0000:19:00.0", 96 * GB),
    ]
    assert reader.read(0) == {"power_w": 421, "temperature_c": 44, "power_limit_w": 600, "sm_clock_mhz": 1650}


def test_a_gaudi_keeps_its_number_when_another_is_lost(machine: MachineTree) -> None:
    habana_machine(machine)
    machine.file("/sys/devices/pci0000:1a/0000:1a:00.0/vendor", "0xffff")
    reader = HabanaReader(Tree(machine.root))
    assert [(each.index, each.bus) for each in reader.devices()] == [(1, "0000:19:00.0")]
    assert reader.read(1)["power_w"] == 421


def test_gaudis_that_do_not_tell_their_module_are_counted_by_their_address(machine: MachineTree) -> None:
    habana_machine(machine)
    machine.file("/sys/devices/pci0000:1a/0000:1a:00.0/module_id", "?")
    reader = HabanaReader(Tree(machine.root))
    assert [(each.index, each.bus) for each in reader.devices()] == [(0, "0000:19:00.0"), (1, "0000:1a:00.0")]


def test_resets_of_a_gaudi_are_counted_where_its_driver_does(machine: MachineTree) -> None:
    habana_machine(machine)
    machine.files("/sys/devices/pci0000:1a/0000:1a:00.0", hard_reset_cnt=2, soft_reset_cnt=3)
    reader = HabanaReader(Tree(machine.root))
    assert reader.read(0)["resets"] == 5
    assert "resets" not in reader.read(1)


def test_a_gaudi_in_reset_is_not_read_and_the_other_is(machine: MachineTree) -> None:
    reader = habana_machine(machine)
    machine.file("/sys/devices/pci0000:19/0000:19:00.0/status", "in reset")
    with pytest.raises(ReadFailed, match="in reset"):
        reader.read(1)
    assert reader.read(0)["power_w"] == 421


ANSWERS = {
    apple.MODEL: "Apple M2 Max\n",
    apple.MEMORY: "68719476736\n",
    apple.STATISTICS: '"PerformanceStatistics" = {"In use system memory"=4294967296,"Device Utilization %"=37}',
}


def test_apple_graphics_share_the_memory_of_the_machine() -> None:
    reader = AppleReader(lambda command: ANSWERS[tuple(command)])
    (device,) = reader.devices()
    assert (device.index, device.kind, device.memory_bytes, device.bus) == (0, "Apple M2 Max", 64 * GIB, "")
    assert reader.read(0) == {
        "utilisation_percent": 37,
        "memory_used_bytes": 4 * GIB,
        "memory_free_bytes": 60 * GIB,
    }


def test_a_mac_with_another_processor_has_none_and_one_that_does_not_answer_fails() -> None:
    assert not AppleReader(lambda command: {**ANSWERS, apple.MODEL: "Intel(R) Core(TM) i7"}[tuple(command)]).devices()
    with pytest.raises(ReadFailed, match="no size"):
        AppleReader(lambda command: "?")
    with pytest.raises(ReadFailed, match="no-such-command"):
        apple.run_command(["no-such-command"])


@pytest.mark.parametrize(
    ("vendor", "found"),
    [
        ("intel", [("Max1550", 128 * GIB, "0000:16:00.0", 0), ("A770", 16 * GIB, "0000:81:00.0", 1)]),
        ("habana", [("Gaudi2", 96 * GB, "0000:1a:00.0", 1), ("Gaudi2", 96 * GB, "0000:19:00.0", 0)]),
        ("apple", [("M2Max", 64 * GIB, "", None)]),
    ],
)
def test_discovery_tells_kind_memory_address_and_numa_node(
    machine: MachineTree, monkeypatch: pytest.MonkeyPatch, vendor: str, found: Sequence[object]
) -> None:
    readers: dict[str, DeviceReader] = {
        "intel": intel_machine(machine),
        "apple": AppleReader(lambda command: ANSWERS[tuple(command)]),
    }
    readers["habana"] = habana_machine(machine)
    monkeypatch.setattr(accelerators, "open_reader", readers.__getitem__)
    told = accelerators.look(vendor, Tree(machine.root)).devices
    assert [(each.kind, each.memory_bytes, each.bus, each.numa_node) for each in told] == found
    assert {each.vendor for each in told} == {vendor}


def test_one_in_trouble_is_told_with_it_and_counters_tell_of_resets(
    machine: MachineTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = habana_machine(machine)
    machine.file("/sys/devices/pci0000:1a/0000:1a:00.0/status", "in reset")
    monkeypatch.setattr(accelerators, "open_reader", {"habana": reader}.__getitem__)
    sick, well = accelerators.look("habana", Tree(machine.root)).devices
    assert (sick.trouble, sick.memory_bytes, well.trouble) == ("0000:1a:00.0 is in reset", 96 * GB, "")
    assert well.counters == {"pci_entry": (machine.root / "sys/devices/pci0000:19/0000:19:00.0").stat().st_ino}
    monkeypatch.setattr(accelerators, "open_reader", {"intel": intel_machine(machine)}.__getitem__)
    assert accelerators.look("intel", Tree(machine.root)).devices[0].counters["energy_j"] == 1234


def test_machines_without_them_have_none(machine: MachineTree) -> None:
    assert not intel.IntelReader(Tree(machine.root)).devices()
    assert not habana.HabanaReader(Tree(machine.root)).devices()

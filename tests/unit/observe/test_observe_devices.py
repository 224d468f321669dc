"""Readers of devices: NVIDIA's by a double of NVML, AMD's by a tree of files as the driver lays it out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ampacity.observe.device_probe import Probe
from ampacity.observe.device_rings import DeviceRings
from ampacity.observe.devices.amd import AmdReader
from ampacity.observe.devices.base import DeviceIdentity, ReadFailed
from ampacity.observe.devices.nvidia import NvidiaReader
from ampacity.observe.devices.registry import open_reader
from ampacity.observe.discovery.tree import Tree
from machine_tree import MachineTree
from nvml_double import Nvml, xid


def test_nvidia_values_have_their_units() -> None:
    reader = NvidiaReader(Nvml())
    assert [(each.index, each.kind, each.uuid) for each in reader.devices()] == [
        (0, "NVIDIA H100 80GB HBM3", "GPU-0"),
        (1, "NVIDIA H100 80GB HBM3", "GPU-1"),
    ]
    assert dict(reader.read(0)) == pytest.approx(
        {
            "utilisation_percent": 87,
            "memory_utilisation_percent": 41,
            "memory_used_bytes": 60 << 30,
            "memory_free_bytes": 20 << 30,
            "power_w": 650.5,
            "energy_j": 12345.678,
            "temperature_c": 61,
            "sm_clock_mhz": 1980,
            "memory_clock_mhz": 2619,
            "throttle_reasons": 4,
            "ecc_corrected": 5,
            "ecc_uncorrected": 1,
            "power_limit_w": 700,
            "memory_temperature_c": 72,
            "xid": 0,
            "xid_events": 0,
        }
    )
    assert reader.processes(0) == {7: 1000, 8: 0}


def test_what_a_device_does_not_support_is_asked_once_and_left_out() -> None:
    nvml = Nvml()
    nvml.refused["nvmlDeviceGetTotalEnergyConsumption"] = nvml.NVML_ERROR_NOT_SUPPORTED
    reader = NvidiaReader(nvml)
    for _ in range(3):
        assert "energy_j" not in reader.read(0)
    assert nvml.calls.count("nvmlDeviceGetTotalEnergyConsumption") == 1


def test_what_seldom_changes_is_not_asked_every_second() -> None:
    nvml = Nvml()
    reader = NvidiaReader(nvml)
    for _ in range(3):
        assert reader.read(0)["power_limit_w"] == 700
    assert nvml.calls.count("nvmlDeviceGetEnforcedPowerLimit") == 1


def test_xid_errors_are_counted_for_the_device_that_had_them() -> None:
    nvml = Nvml()
    reader = NvidiaReader(nvml)
    nvml.events = [xid(1, 79), xid(1, 48)]
    first, second = reader.read(0), reader.read(1)
    assert (first["xid"], first["xid_events"]) == (0, 0)
    assert (second["xid"], second["xid_events"]) == (48, 2)
    assert reader.read(1)["xid"] == 48


def test_a_lost_device_is_a_failure_of_its_reading() -> None:
    nvml = Nvml()
    reader = NvidiaReader(nvml)
    nvml.refused["nvmlDeviceGetPowerUsage"] = nvml.NVML_ERROR_GPU_IS_LOST
    with pytest.raises(ReadFailed, match="NVML"):
        reader.read(0)
    nvml.refused["nvmlDeviceGetCount"] = nvml.NVML_ERROR_UNKNOWN
    with pytest.raises(ReadFailed):
        NvidiaReader(nvml)


def proc_entry(machine: MachineTree, bus: str, uuid: str, minor: int) -> None:
    text = f"Model: \t\t NVIDIA H100 80GB HBM3\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}"
    machine.file(f"/proc/driver/nvidia/gpus/{bus}/information", text)


def test_a_device_that_cannot_be_opened_is_in_trouble_and_the_others_are_read(tmp_path: Path) -> None:
    machine, nvml = MachineTree(tmp_path), Nvml()
    proc_entry(machine, "0000:1a:00.0", "GPU-????????-????-????-????-????????????", 1)
    proc_entry(machine, "0000:1b:00.0", "GPU-1", 0)
    nvml.lost = {0}
    reader = NvidiaReader(nvml, Tree(tmp_path))
    lost, well = reader.devices()
    assert (lost.index, lost.bus, lost.kind, lost.uuid) == (0, "0000:1a:00.0", "NVIDIA H100 80GB HBM3", "")
    assert "error 15" in lost.trouble
    assert (well.index, well.uuid, well.trouble) == (1, "GPU-1", "")
    assert reader.read(1)["temperature_c"] == 61
    assert reader.processes(1) == {7: 1000, 8: 0}
    for call in (reader.read, reader.processes):
        with pytest.raises(ReadFailed, match="error 15"):
            call(0)


@pytest.mark.parametrize(
    ("action", "told"), [(0, ""), (1, "has to be reset"), (2, "machine has to be restarted"), (3, ""), (6, "be reset")]
)
def test_what_the_driver_says_has_to_be_done_is_a_devices_trouble(action: int, told: str) -> None:
    nvml = Nvml()
    nvml.fields[nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION] = action
    for device in NvidiaReader(nvml).devices():
        assert told in device.trouble
        assert bool(told) == bool(device.trouble)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_amd_values_are_read_from_sysfs(tmp_path: Path) -> None:
    write(
        tmp_path / "card1" / "device",
        vendor="0x1002",
        product_name="AMD Instinct MI300X",
        unique_id="7c95e0a4b1f2d386",
        gpu_busy_percent="93",
        mem_info_vram_used=str(100 << 30),
        mem_info_vram_total=str(192 << 30),
        hwmon__hwmon4__power1_average="541000000",
        hwmon__hwmon4__power1_cap="750000000",
        hwmon__hwmon4__temp1_input="58000",
        hwmon__hwmon4__freq1_input="2100000000",
        ras__umc_err_count="ue: 2\nce: 7",
        ras__gfx_err_count="ue: 1\nce: 0",
    )
    write(tmp_path / "card0" / "device", vendor="0x8086", gpu_busy_percent="1")
    reader = AmdReader(str(tmp_path))
    (device,) = reader.devices()
    assert (device.index, device.vendor, device.kind) == (0, "amd", "AMD Instinct MI300X")
    assert device.uuid == "GPU-7c95e0a4b1f2d386"
    assert reader.read(0) == {
        "utilisation_percent": 93,
        "memory_used_bytes": 100 << 30,
        "memory_free_bytes": 92 << 30,
        "power_w": 541,
        "power_limit_w": 750,
        "temperature_c": 58,
        "sm_clock_mhz": 2100,
        "ecc_uncorrected": 3,
        "ecc_corrected": 7,
    }
    (tmp_path / "card1" / "device" / "gpu_busy_percent").write_text("57\n")
    assert reader.read(0)["utilisation_percent"] == 57
    reader.close()


def test_newer_amd_cards_have_the_power_of_the_moment_only(tmp_path: Path) -> None:
    write(tmp_path / "card0" / "device", vendor="0x1002", device="0x744c", hwmon__hwmon0__power1_input="90000000")
    reader = AmdReader(str(tmp_path))
    assert reader.devices()[0].kind == "AMD 0x744c"
    assert reader.read(0) == {"power_w": 90}


# The probe -----------------------------------------------------------------------------------------------------------


class ReaderDouble:
    """Devices whose values are what the test says."""

    def __init__(self, count: int = 1) -> None:
        self.values: dict[int, dict[str, float]] = {index: {} for index in range(count)}
        self.failing: set[int] = set()
        self.held: dict[int, int] = {}

    def devices(self) -> Sequence[DeviceIdentity]:
        return [DeviceIdentity(index=each, vendor="double", kind="X", uuid=f"U{each}") for each in self.values]

    def read(self, index: int) -> Mapping[str, float]:
        if index in self.failing:
            raise ReadFailed("it does not answer")
        return self.values[index]

    def processes(self, index: int) -> Mapping[int, int]:
        if index in self.failing:
            raise ReadFailed("it does not answer")
        return self.held

    def close(self) -> None:
        return


def test_where_there_is_no_counter_power_is_integrated_over_restarts(tmp_path: Path) -> None:
    reader = ReaderDouble()
    probe, rings = Probe(reader, str(tmp_path)), DeviceRings(str(tmp_path))
    for second, power_w in enumerate((100.0, 300.0, 300.0)):
        reader.values[0] = {"power_w": power_w}
        probe.sample(1000.0 + second)
    rings.look(1002.0)
    assert rings.energy_j("n1/0") == 500.0
    again = Probe(reader, str(tmp_path))
    for second in (10, 11):
        again.sample(1000.0 + second)
    rings.look(1011.0)
    assert rings.energy_j("n1/0") == 800.0  # what was used while nobody looked is not made up


def test_one_device_that_fails_leaves_the_others(tmp_path: Path) -> None:
    reader = ReaderDouble(2)
    reader.values = {0: {"utilisation_percent": 1.0}, 1: {"utilisation_percent": 2.0}}
    probe, rings = Probe(reader, str(tmp_path)), DeviceRings(str(tmp_path))
    reader.failing = {0}
    probe.sample(1000.0)
    rings.look(1000.0)
    assert math.isnan(rings.value("n1/0", "utilisation_percent"))
    assert rings.value("n1/1", "utilisation_percent") == 2.0
    assert rings.value("n1/U1", "utilisation_percent") == 2.0
    rings.look(1010.0)
    assert math.isnan(rings.value("n1/1", "utilisation_percent"))  # too old to be told
    reader.failing = {0, 1}
    with pytest.raises(ReadFailed):
        probe.sample(1001.0)


def test_who_holds_memory_is_told_beside_a_device_that_fails(tmp_path: Path) -> None:
    reader = ReaderDouble(2)
    reader.held = {41: 5}
    reader.failing = {0}
    rings = DeviceRings(str(tmp_path))
    Probe(reader, str(tmp_path)).sample(1000.0)
    rings.look(1000.0)
    assert rings.held_bytes([41]) == 5.0


def test_who_holds_device_memory_is_told_by_process(tmp_path: Path) -> None:
    reader = ReaderDouble(2)
    reader.held = {41: 5, 42: 7}
    rings = DeviceRings(str(tmp_path))
    rings.look(1000.0)
    assert math.isnan(rings.held_bytes([41]))
    Probe(reader, str(tmp_path)).sample(1000.0)
    rings.look(1000.0)
    assert rings.held_bytes([41, 42, 43]) == 24.0  # two devices, each the same
    assert rings.held_bytes([43]) == 0.0


def test_readers_are_found_by_name() -> None:
    assert isinstance(open_reader("amd"), AmdReader)
    with pytest.raises(ImportError):
        open_reader("no_such_module:open_reader")

"""Partitioned NVIDIA devices (MIG): their instances, by a double of NVML."""

from __future__ import annotations

import math
from pathlib import Path

import pynvml
import pytest

from ampacity.observe.device_probe import HOLDERS_EVERY_S, Probe
from ampacity.observe.device_rings import DeviceRings
from ampacity.observe.devices.base import ReadFailed
from ampacity.observe.devices.mig import instances
from ampacity.observe.devices.nvidia import NvidiaReader, open_reader
from ampacity.observe.measured import MetricsFolder
from nvml_double import Nvml, NvmlError, Part, xid
from nvml_library import NvmlLibrary

SMALL, LARGE = Part(9), Part(2, profile="3g.40gb+me", memory_mib=40448, slices=(3, 3))


def partitioned(*parts: Part | None) -> Nvml:
    """The first device is; the second one is whole."""
    nvml = Nvml()
    nvml.parts = {0: list(parts)}
    return nvml


@pytest.mark.parametrize("error", [Nvml.NVML_ERROR_NOT_SUPPORTED, Nvml.NVML_ERROR_FUNCTION_NOT_FOUND, None])
def test_a_device_that_is_not_partitioned_has_no_instances_whatever_says_so(error: int | None) -> None:
    nvml = Nvml()
    if error is not None:
        nvml.refused["nvmlDeviceGetMigMode"] = error
    assert instances(nvml, 0) is None
    assert [each.partitioned for each in NvidiaReader(nvml).devices()] == [False, False]


def test_instances_are_listed_in_their_order_and_empty_slots_are_none() -> None:
    found = instances(partitioned(SMALL, None, LARGE), 0)
    assert found is not None
    assert [(each.name, each.profile, each.uuid, each.memory_bytes >> 20) for each in found] == [
        ("2/0", "3g.40gb+me", LARGE.uuid, 40448),
        ("9/0", "1g.10gb", SMALL.uuid, 9984),
    ]
    assert instances(partitioned(), 0) == ()


@pytest.mark.parametrize(
    ("memory_mib", "slices", "profile"),
    [
        (9984, (1, 1), "1g.10gb"),
        (20096, (1, 1), "1g.20gb"),
        (40448, (3, 3), "3g.40gb"),
        (40448, (3, 1), "1c.3g.40gb"),
        (81151, (7, 7), "7g.80gb"),
    ],
)
def test_a_profile_that_the_name_does_not_tell_is_put_together(
    memory_mib: int, slices: tuple[int, int], profile: str
) -> None:
    part = Part(1, memory_mib=memory_mib, slices=slices, named=False)
    found = instances(partitioned(part), 0)
    assert found is not None
    assert [each.profile for each in found] == [profile]


def test_an_instance_that_goes_while_it_is_looked_at_is_none_and_other_errors_are_told() -> None:
    nvml = partitioned(SMALL, LARGE)
    nvml.refused["nvmlDeviceGetAttributes"] = nvml.NVML_ERROR_INVALID_ARGUMENT
    assert instances(nvml, 0) == ()
    nvml.refused["nvmlDeviceGetAttributes"] = nvml.NVML_ERROR_UNKNOWN
    with pytest.raises(NvmlError):
        instances(nvml, 0)


def test_a_partitioned_device_is_followed_by_its_instances_after_all_devices() -> None:
    gpu, whole, large, small = NvidiaReader(partitioned(SMALL, LARGE)).devices()
    assert (gpu.index, gpu.partitioned, gpu.profile, gpu.uuid) == (0, True, "", "GPU-0")
    assert (whole.index, whole.partitioned, whole.parent) == (1, False, None)
    assert (large.index, large.parent, large.instance, large.profile) == (2, 0, "2/0", "3g.40gb+me")
    assert (small.index, small.parent, small.instance, small.profile) == (3, 0, "9/0", "1g.10gb")
    assert {each.bus for each in (gpu, large, small)} == {"00000000:1A:00.0"}
    assert {each.kind for each in (gpu, large, small)} == {"NVIDIA H100 80GB HBM3"}


def test_memory_is_the_instances_and_all_else_the_devices() -> None:
    reader = NvidiaReader(partitioned(SMALL))
    assert reader.read(2) == {
        "memory_used_bytes": 13 << 20,
        "memory_free_bytes": (9984 - 13) << 20,
        "xid": 0,
        "xid_events": 0,
    }
    gpu = reader.read(0)
    assert (gpu["power_w"], gpu["temperature_c"], gpu["ecc_corrected"]) == (650.5, 61, 5)
    assert not {"utilisation_percent", "memory_used_bytes", "memory_free_bytes"} & gpu.keys()
    assert reader.read(1)["utilisation_percent"] == 87
    assert (reader.processes(0), reader.processes(2)) == ({}, {7: 1000})


def test_an_xid_error_is_told_of_the_device_and_of_the_instance_that_it_is_laid_to() -> None:
    nvml = partitioned(Part(1, 0), Part(1, 1), Part(2))
    reader = NvidiaReader(nvml)
    nvml.events = [xid(0, 31, 1, 1), xid(0, 13, 1), xid(0, 79)]
    told = [(reader.read(index)["xid"], reader.read(index)["xid_events"]) for index in (0, 1, 2, 3, 4)]
    assert told == [(79, 3), (0, 0), (13, 1), (13, 2), (0, 0)]
    nvml.events = [xid(0, 43, 1, 1)]
    assert [reader.read(index)["xid"] for index in (0, 2, 3)] == [43, 13, 43]


def test_links_join_whole_devices_alone() -> None:
    assert len(NvidiaReader(Nvml()).links()) == 1
    assert NvidiaReader(partitioned(SMALL)).links() == ()


def test_instances_that_cannot_be_told_are_their_devices_trouble() -> None:
    nvml = partitioned(SMALL)
    nvml.refused["nvmlDeviceGetMaxMigDeviceCount"] = nvml.NVML_ERROR_UNKNOWN
    gpu, whole = NvidiaReader(nvml).devices()
    assert gpu.trouble == "its instances cannot be told: NVML: error 999"
    assert (gpu.partitioned, whole.trouble) == (False, "")


def test_instances_that_are_made_or_destroyed_are_seen_at_the_next_look() -> None:
    nvml = partitioned(SMALL)
    reader = NvidiaReader(nvml)
    assert not reader.look_again()
    nvml.parts = {0: [LARGE]}
    with pytest.raises(ReadFailed):
        reader.read(2)
    assert reader.look_again()
    assert [each.uuid for each in reader.devices()] == ["GPU-0", "GPU-1", LARGE.uuid]
    assert reader.read(2)["memory_used_bytes"] == 13 << 20
    assert "utilisation_percent" not in reader.read(0)
    nvml.parts = {}
    assert reader.look_again()
    assert reader.read(0)["utilisation_percent"] == 87


def test_the_probe_goes_on_with_an_instances_file_when_another_one_is_destroyed(tmp_path: Path) -> None:
    nvml = partitioned(LARGE, SMALL)
    probe, rings = Probe(NvidiaReader(nvml), str(tmp_path)), DeviceRings(str(tmp_path))
    probe.sample(1000.0)
    rings.look(1000.0)
    assert rings.value(SMALL.uuid, "memory_used_bytes") == rings.value(LARGE.uuid, "memory_used_bytes") == 13 << 20
    assert rings.value("n1/0", "power_w") == rings.value("n1/1", "power_w") == 650.5
    nvml.parts = {0: [SMALL]}
    at = 1001.0 + HOLDERS_EVERY_S
    probe.sample(at)
    rings.look(at)
    assert math.isnan(rings.value(LARGE.uuid, "memory_used_bytes"))
    assert rings.value(SMALL.uuid, "memory_used_bytes") == 13 << 20
    assert rings.held_bytes([7]) == 2000.0  # of the instance and of the whole device
    files = sorted(path.name for path in tmp_path.glob("device-*"))
    assert files == [f"device-nvidia-{name}.ring" for name in ("0.2.0", "0.9.0", "0", "1")]


def test_an_instance_is_measured_beside_its_device(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    Probe(NvidiaReader(partitioned(SMALL, LARGE)), str(tmp_path / "metrics")).sample(1000.0)
    folder = MetricsFolder(tmp_path)
    try:
        found = [(each.labels["uuid"], each.labels.get("gpu_uuid")) for each in folder.read(1000.0).devices]
    finally:
        folder.close()
    assert found == [("GPU-0", None), (LARGE.uuid, "GPU-0"), (SMALL.uuid, "GPU-0"), ("GPU-1", None)]


def test_an_instance_as_older_drivers_name_it_is_not_taken_for_a_number(tmp_path: Path) -> None:
    Probe(NvidiaReader(partitioned(SMALL)), str(tmp_path)).sample(1000.0)
    rings = DeviceRings(str(tmp_path))
    rings.look(1000.0)
    assert math.isnan(rings.value("MIG-GPU-0/9/0", "power_w"))


# The real binding ----------------------------------------------------------------------------------------------------


def through_the_binding(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> NvidiaReader:
    monkeypatch.setattr(pynvml, "nvmlLib", NvmlLibrary(nvml))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return open_reader()


def test_the_binding_and_its_double_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nvml() -> Nvml:
        made = partitioned(SMALL, None, LARGE)
        made.events = [xid(0, 31, 9, 0), xid(1, 79)]
        return made

    reader, doubled = through_the_binding(nvml(), monkeypatch), NvidiaReader(nvml())
    assert reader.devices() == doubled.devices()
    assert len(reader.devices()) == 4
    for index in range(4):
        assert reader.read(index) == doubled.read(index)
        assert reader.processes(index) == doubled.processes(index)
    assert reader.read(3)["xid"] == 31
    assert not reader.look_again()
    reader.close()


def test_the_binding_and_its_double_see_what_becomes_of_instances_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = partitioned(SMALL)
    reader = through_the_binding(nvml, monkeypatch)
    nvml.parts = {}
    with pytest.raises(ReadFailed, match="Invalid Argument"):
        reader.read(2)
    assert reader.look_again()
    assert [each.partitioned for each in reader.devices()] == [False, False]
    assert len(reader.links()) == 1
    nvml.parts = {1: [LARGE]}
    assert reader.look_again()
    assert reader.devices()[2].parent == 1
    nvml.refused["nvmlDeviceGetMigMode"] = nvml.NVML_ERROR_UNKNOWN
    assert reader.look_again()
    assert reader.devices()[1].trouble == "its instances cannot be told: NVML: Unknown Error"


def test_constants_of_the_double_are_the_bindings() -> None:
    names = [name for name in vars(Nvml) if name.startswith(("NVML_", "nvmlEventType"))]
    assert {name: getattr(pynvml, name) for name in names} == {name: getattr(Nvml, name) for name in names}

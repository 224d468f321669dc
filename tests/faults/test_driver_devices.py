"""Devices that are lost, reset or hang while members run on them: seen by real supervisors, through a double of a
vendor's library whose devices are what a file says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from driver_bench import Bench, wait_until

from ampacity.drivers.local.driver import LocalDriver
from ampacity.model.attempt import Cause, CauseKind
from ampacity.model.node import Health
from ampacity.model.resources import Allocation, DeviceShare

DOUBLE = """
import json, os
from ampacity.observe.devices.base import DeviceIdentity, ReadFailed

def opened():
    told = json.load(open(os.environ["DOUBLED_DEVICES"]))
    if told == "fails":
        raise ReadFailed("the driver is sick")
    return Reader(told)

class Reader:
    def __init__(self, told):
        self.told = told
    def devices(self):
        told = [{"vendor": "double", **each} for each in self.told]
        for each in told:
            del each["values"]
        return [DeviceIdentity(index=index, kind="NVIDIA H100", **each) for index, each in enumerate(told)]
    def read(self, index):
        return self.told[index]["values"]
    def processes(self, index):
        return {}
    def close(self):
        pass
"""
VENDOR = "doubled_devices:opened"
WHOLE = [{"uuid": f"GPU-{index}", "values": {"energy_j": 100.0, "ecc_uncorrected": 0}} for index in range(2)]
ALLOCATION = Allocation(cpu_milli=100, memory_bytes=0)


class DoubledBench(Bench):
    """Its node is this machine with the devices that the file says."""

    def __init__(self, folder: Path, told: Path) -> None:
        self.told = told
        self.become(WHOLE)
        super().__init__(folder, ())
        self.nodes = self.driver.nodes()

    def open(self) -> None:
        self.driver = LocalDriver(self.folder, (), (VENDOR,), look_every_s=0.05)
        self.opened = True

    def begin_anew(self, devices: object, folder: Path) -> None:
        """As another machine, which has these."""
        self.close_driver()
        self.become(devices)
        self.folder = folder
        self.open()
        self.nodes = self.driver.nodes()

    def become(self, devices: object) -> None:
        fresh = self.told.with_suffix(".new")
        fresh.write_text(json.dumps(devices))
        fresh.replace(self.told)

    def health(self) -> list[Health]:
        return [device.health for device in self.driver.nodes()[0].devices]

    def runs_on(self, device: int, script: str) -> Cause:
        """How a member ends that holds this device and waits until the devices have become what the test says."""
        share = DeviceShare(device=self.nodes[0].devices[device].id, milli=1000)
        key = self.start("sh", "-c", script, allocation=replace(ALLOCATION, devices=(share,)))
        return self.exit_of(key)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "doubled_devices.py").write_text(DOUBLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("DOUBLED_DEVICES", str(tmp_path / "devices.json"))
    made = DoubledBench(tmp_path / "local", tmp_path / "devices.json")
    yield made
    made.clean_up()


def becoming(bench: DoubledBench, devices: object, then: str = "exit 3") -> str:
    """A script in whose midst the devices become that."""
    fresh = bench.told.with_suffix(".next")
    fresh.write_text(json.dumps(devices))
    return f"mv {fresh} {bench.told}; {then}"


GPU = {"uuid": "GPU-0", "vendor": "nvidia", "bus": "00000000:1A:00.0", "values": {"energy_j": 100.0}}


def partitioned(*instances: int) -> list[dict[str, object]]:
    """A device with these instances."""
    parts = [
        {
            **{**GPU, "uuid": f"MIG-{number}", "values": {}},
            "memory_bytes": 10 << 30,
            "parent": 0,
            "profile": "1g.10gb",
            "instance": f"{number}/0",
        }
        for number in instances
    ]
    return [{**GPU, "partitioned": True}, *parts]


def second(**changed: object) -> list[dict[str, object]]:
    return [WHOLE[0], {**WHOLE[1], **changed}]


@pytest.mark.parametrize(
    ("device", "devices", "told"),
    [
        (1, WHOLE[:1], "is gone"),
        (1, second(values={"energy_j": 2.0, "ecc_uncorrected": 0}), "was reset"),
        (1, second(values={"energy_j": 120.0, "ecc_uncorrected": 1}), "memory errors that could not be corrected"),
        (1, second(trouble="NVML: GPU is lost"), "does not work: NVML: GPU is lost"),
        (1, "fails", "do not answer"),
    ],
)
def test_a_member_whose_device_failed_under_it_ended_by_that(
    bench: DoubledBench, device: int, devices: object, told: str
) -> None:
    cause = bench.runs_on(device, becoming(bench, devices))
    assert cause.kind is CauseKind.DEVICE_FAILED
    assert cause.kind.is_interruption
    assert told in cause.message
    assert cause.message.endswith("exit code 3")
    assert cause.exit_code == 3


@pytest.mark.parametrize(
    ("device", "devices", "then", "kind"),
    [
        (0, second(values={"energy_j": 2.0}), "exit 3", CauseKind.EXIT),
        (1, second(values={"energy_j": 120.0, "ecc_uncorrected": 0}), "kill -9 $$", CauseKind.SIGNAL),
        (1, second(trouble="NVML: GPU is lost"), "exit 0", CauseKind.COMPLETED),
    ],
)
def test_a_member_whose_devices_are_well_or_that_succeeded_ended_by_itself(
    bench: DoubledBench, device: int, devices: object, then: str, kind: CauseKind
) -> None:
    assert bench.runs_on(device, becoming(bench, devices, then)).kind is kind


def test_a_lost_device_is_failed_comes_back_and_stays_known_over_a_restart(bench: DoubledBench) -> None:
    assert bench.health() == [Health.OK, Health.OK]
    bench.become(WHOLE[:1])
    wait_until(lambda: bench.health() == [Health.OK, Health.FAILED], "the loss")
    bench.reopen()
    assert bench.health() == [Health.OK, Health.FAILED]
    bench.become(WHOLE)
    wait_until(lambda: bench.health() == [Health.OK, Health.OK], "the return")
    bench.become(second(values={"energy_j": 1.0}))
    wait_until(lambda: [each.resets for each in bench.driver.nodes()[0].devices] == [0, 1], "the reset")


def test_one_device_that_cannot_be_opened_leaves_the_others(bench: DoubledBench) -> None:
    bench.become(second(trouble="NVML: Insufficient External Power"))
    wait_until(lambda: bench.health() == [Health.OK, Health.FAILED], "the trouble")
    assert bench.driver.nodes()[0].devices[1].trouble == "NVML: Insufficient External Power"
    assert bench.runs_on(0, "true").completed


def test_instances_of_a_partitioned_device_come_and_go_while_the_node_runs(bench: DoubledBench, tmp_path: Path) -> None:
    def devices() -> list[tuple[str, str, str]]:
        return [(device.uuid, device.kind, device.trouble) for device in bench.driver.nodes()[0].devices]

    def problems() -> list[str]:
        return [each for each in bench.driver.nodes()[0].hardware.problems if "MIG" in each]

    bench.begin_anew(partitioned(), tmp_path / "other")
    assert "has no instances" in "".join(problems())
    assert devices() == []
    bench.become(partitioned(7, 8))
    wait_until(lambda: [each[0] for each in devices()] == ["MIG-7", "MIG-8"], "the instances")
    assert problems() == []
    ids = [device.id for device in bench.driver.nodes()[0].devices if device.profile]
    bench.reopen()
    assert [device.id for device in bench.driver.nodes()[0].devices if device.profile] == ids
    bench.become(partitioned(8))
    wait_until(lambda: devices() == [("MIG-8", "H100-1g.10gb", "")], "the destruction")
    assert bench.driver.nodes()[0].devices[0].id == ids[1]


@pytest.mark.parametrize(
    ("destroyed", "kind", "told"),
    [(7, CauseKind.DEVICE_FAILED, "is gone"), (8, CauseKind.EXIT, "")],
)
def test_a_member_on_an_instance_sees_it_alone_and_ends_by_its_destruction_alone(
    bench: DoubledBench, tmp_path: Path, destroyed: int, kind: CauseKind, told: str
) -> None:
    bench.begin_anew(partitioned(7, 8), tmp_path / "other")
    left = partitioned(*{7, 8} - {destroyed})
    shown = bench.told.with_suffix(".shown")
    show = f'echo "$CUDA_VISIBLE_DEVICES $NVIDIA_VISIBLE_DEVICES" > {shown}'
    cause = bench.runs_on(0, f"{show}; {becoming(bench, left)}")
    assert shown.read_text() == "MIG-7 MIG-7\n"
    assert cause.kind is kind
    assert told in cause.message

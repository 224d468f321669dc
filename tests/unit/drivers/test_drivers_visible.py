"""The variables by which a member's libraries see the devices that it was given, and no others."""

from __future__ import annotations

import pytest

from ampacity.drivers.base import Launch
from ampacity.drivers.local.visible import given_devices, seen_through
from ampacity.model.errors import LaunchFailed
from ampacity.model.ids import AttemptId, DeviceId, MemberKey, NodeId
from ampacity.model.node import Device, Node
from ampacity.model.resources import Allocation, DeviceShare

FIRST, SECOND = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-30e8ae08-3d14-4ae0-a0b2-6d8c7b9a1c55"
PART = "MIG-9d2cbd95-2b8b-5a56-8a38-19d5ed5f9f1e"

OTHER_PART = "MIG-41b3359c-e721-56e5-8009-12e5797ed514"


def node(vendor: str, *uuids: str) -> Node:
    devices = tuple(
        Device(id=DeviceId(f"n/{index}"), index=index, kind="x", memory_bytes=0, vendor=vendor, uuid=uuid)
        for index, uuid in enumerate(uuids)
    )
    return Node(id=NodeId("n"), driver="local", cpu_milli=1, memory_bytes=1, devices=devices)


def launch(*devices: str) -> Launch:
    shares = tuple(DeviceShare(device=device, milli=1000) for device in devices)
    key = MemberKey(attempt=AttemptId("w1.0.1"), member=0, epoch=1)
    allocation = Allocation(cpu_milli=1000, memory_bytes=0, devices=shares)
    return Launch(key=key, node=NodeId("n"), argv=("true",), allocation=allocation)


@pytest.mark.parametrize(
    ("machine", "given", "env"),
    [
        (("nvidia", FIRST, SECOND), [1], {"CUDA_VISIBLE_DEVICES": SECOND, "NVIDIA_VISIBLE_DEVICES": SECOND}),
        (("nvidia", FIRST, PART), [1], {"CUDA_VISIBLE_DEVICES": PART, "NVIDIA_VISIBLE_DEVICES": PART}),
        (
            ("nvidia", PART, OTHER_PART, FIRST),
            [0, 1],
            {"CUDA_VISIBLE_DEVICES": f"{PART},{OTHER_PART}", "NVIDIA_VISIBLE_DEVICES": f"{PART},{OTHER_PART}"},
        ),
        (("nvidia", FIRST, ""), [0, 1], {"CUDA_VISIBLE_DEVICES": "0,1", "NVIDIA_VISIBLE_DEVICES": "0,1"}),
        (("nvidia", FIRST), [], {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}),
        (
            ("amd", "GPU-7c95e0a4b1f2d386", "GPU-00000a4b1f2d3860", "GPU-0000000000000001"),
            [0, 2],
            {
                "ROCR_VISIBLE_DEVICES": "GPU-7c95e0a4b1f2d386,GPU-0000000000000001",
                "HIP_VISIBLE_DEVICES": "0,1",
                "CUDA_VISIBLE_DEVICES": "0,1",
            },
        ),
        (("amd", "", ""), [1], {"CUDA_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1"}),
        (("amd", "GPU-7c95e0a4b1f2d386"), [], {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}),
        (
            ("intel", "", ""),
            [1],
            {"CUDA_VISIBLE_DEVICES": "1", "ZE_AFFINITY_MASK": "1", "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"},
        ),
        (("intel", ""), [], {"CUDA_VISIBLE_DEVICES": ""}),
        (("habana", "", ""), [0, 1], {"CUDA_VISIBLE_DEVICES": "0,1", "HABANA_VISIBLE_MODULES": "0,1"}),
        (("", "", ""), [1], {"CUDA_VISIBLE_DEVICES": "1"}),
    ],
)
def test_devices_are_named_for_good_where_their_vendor_knows_such_names(
    machine: tuple[str, ...], given: list[int], env: dict[str, str]
) -> None:
    there = node(*machine)
    assert seen_through(there, [there.devices[index] for index in given]) == env


def test_devices_are_given_in_their_order_and_one_that_is_not_there_is_told() -> None:
    there = node("nvidia", FIRST, SECOND)
    assert given_devices(launch("n/1", "n/0"), there) == list(there.devices)
    with pytest.raises(LaunchFailed, match="n/7"):
        given_devices(launch("n/7"), there)

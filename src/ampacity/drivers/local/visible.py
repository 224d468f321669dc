"""What a member is shown of its node's accelerators: which were given to it, and the variables that say so."""

from __future__ import annotations

from collections.abc import Sequence

from ampacity.drivers.base import Launch
from ampacity.model.errors import LaunchFailed
from ampacity.model.node import Device, Node

CUDA = "CUDA_VISIBLE_DEVICES"
NVIDIA, AMD, INTEL, HABANA = "nvidia", "amd", "intel", "habana"


def given_devices(launch: Launch, node: Node) -> list[Device]:
    """The member's devices, by ascending index. Raises ``LaunchFailed``."""
    known: dict[str, Device] = {device.id: device for device in node.devices}
    try:
        given = {share.device: known[share.device] for share in launch.allocation.devices}
    except KeyError as error:
        raise LaunchFailed(f"node {node.id} has no device {error}") from error
    return sorted(given.values(), key=lambda device: device.index)


def seen_through(node: Node, given: Sequence[Device]) -> dict[str, str]:
    """The environment by which a member's libraries see the given devices alone.

    Where all have a name for good they are named by it: when a device is lost, its vendor numbers the others anew, and
    a number would then mean another one. Sources: CUDA's programming guide on environment variables; ROCm's page "GPU
    isolation techniques"; NVIDIA's container toolkit; Level Zero's "Environment Variables"; Gaudi's page "Multiple
    Workloads on a Single Docker".
    """
    vendors = {device.vendor for device in given or node.devices}
    indices = ",".join(str(device.index) for device in given)
    env = {CUDA: indices}
    if NVIDIA in vendors:
        env |= _nvidia(given, indices)
    if AMD in vendors:
        env |= _amd(given, indices)
    if INTEL in vendors and given:  # no device is no choice for this and the next: they would read it as all
        env |= {"ZE_AFFINITY_MASK": indices, "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"}
    if HABANA in vendors and given:
        env["HABANA_VISIBLE_MODULES"] = indices
    return env


def _nvidia(given: Sequence[Device], indices: str) -> dict[str, str]:
    """The second variable is read by container runtimes alone."""
    names = _names(given) or indices
    return {CUDA: names, "NVIDIA_VISIBLE_DEVICES": names or "void"}


def _amd(given: Sequence[Device], indices: str) -> dict[str, str]:
    """HIP's own variables take numbers, among those that ROCm's runtime shows: what that hides has no number."""
    names = _names(given)
    if not names:
        return {CUDA: indices, "HIP_VISIBLE_DEVICES": indices}
    shown = ",".join(str(place) for place in range(len(given)))
    return {"ROCR_VISIBLE_DEVICES": names, "HIP_VISIBLE_DEVICES": shown, CUDA: shown}


def _names(given: Sequence[Device]) -> str:
    """All by name; empty where one has none: a list must not mix names and numbers."""
    return ",".join(device.uuid for device in given) if all(device.uuid for device in given) else ""

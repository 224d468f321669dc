"""The instances of NVIDIA's partitioned devices (MIG), by NVML.

NVML's reference, group "Multi Instance GPU Management": what it lists is a *MIG device*, one compute instance in a GPU
instance, which is what CUDA takes for a device. Of a handle to one it answers for its name, UUID, attributes, memory
and processes; utilisation, power, temperature and clocks are the whole GPU's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from .nvml_text import text

_PROFILE = re.compile(r"\bMIG (?P<profile>[0-9][\w.+-]*)")
_MEMORY_SLICES = 8
"""A profile's memory is so many eighths of the GPU's (NVIDIA's MIG guide, "Concepts")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """``profile``: ``1g.10gb``, ``3g.40gb+me``, or ``1c.3g.40gb`` where it is one of several in its GPU instance.
    ``memory_bytes``: the GPU instance's; 0 = not known."""

    handle: Any
    uuid: str
    profile: str
    gpu_instance: int
    compute_instance: int
    memory_bytes: int

    @property
    def name(self) -> str:
        """``3/0``, as in the names that NVIDIA gave to instances at first (``MIG-GPU-…/3/0``)."""
        return f"{self.gpu_instance}/{self.compute_instance}"


def instances(nvml: Any, gpu: Any) -> tuple[Instance, ...] | None:
    """Those of a GPU; ``None`` when it is not partitioned, which may be its kind's or its driver's fault.

    Raises:
        nvml.NVMLError: its instances cannot be told now.
    """
    try:
        mode, _ = nvml.nvmlDeviceGetMigMode(gpu)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
            return None
        raise
    if mode != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    found = []
    for slot in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            found.append(_instance(nvml, gpu, nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, slot)))
        except nvml.NVMLError as error:
            # the slot is empty, or became so while it was looked at: the handle is none any more then
            if error.value not in (nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_INVALID_ARGUMENT):
                raise
    return tuple(sorted(found, key=lambda each: (each.gpu_instance, each.compute_instance)))


def _instance(nvml: Any, gpu: Any, handle: Any) -> Instance:
    attributes = nvml.nvmlDeviceGetAttributes(handle)
    named = _PROFILE.search(text(nvml.nvmlDeviceGetName(handle)))
    return Instance(
        handle=handle,
        uuid=text(nvml.nvmlDeviceGetUUID(handle)),
        profile=_composed(nvml, gpu, attributes) if named is None else named["profile"],
        gpu_instance=nvml.nvmlDeviceGetGpuInstanceId(handle),
        compute_instance=nvml.nvmlDeviceGetComputeInstanceId(handle),
        memory_bytes=attributes.memorySizeMB << 20,
    )


def _composed(nvml: Any, gpu: Any, attributes: Any) -> str:
    """The profile's name out of what it has, where the instance's own name does not tell it: slices of compute, and the
    memory in whole eighths of the GPU's. (What it has beyond them, as ``+me``, cannot be told so.)"""
    whole_bytes = nvml.nvmlDeviceGetMemoryInfo(gpu).total
    eighths = math.ceil((attributes.memorySizeMB << 20) * _MEMORY_SLICES / whole_bytes)
    memory_gb = round(math.ceil(whole_bytes / 2**30) * eighths / _MEMORY_SLICES)
    slices, own = attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount
    return f"{f'{own}c.' if own != slices else ''}{slices}g.{memory_gb}gb"

"""NVIDIA's devices, by NVML (nvidia-ml-py)."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ampacity.model.hardware import DeviceLink
from ampacity.observe.discovery.pci import address_of
from ampacity.observe.discovery.tree import Tree

from .base import DeviceIdentity, ReadFailed
from .mig import Instance, instances
from .nvidia_files import DriverEntry, driver_entries
from .nvlink import nvlinks
from .nvml_text import text
from .xids import Xids

VENDOR = "nvidia"

SLOW_EVERY_S = 10.0
"""How often that is read which seldom changes: error counts and the power limit."""

MILLI = 1e-3


class NvidiaReader:
    """Reads by the NVML module that it is given (``pynvml``, initialised).

    What a device does not support is asked once and then left alone. One that cannot be opened is in trouble, and the
    others are read. One that is partitioned is followed by its instances, which may become others: see
    :meth:`look_again`.
    """

    def __init__(self, nvml: Any, tree: Tree | None = None) -> None:
        self._nvml = nvml
        self._handles: dict[int, Any] = {}
        with _failing(nvml):
            opened = [self._open(index) for index in range(nvml.nvmlDeviceGetCount())]
        self._xids = Xids(nvml, self._handles, {each.uuid: each.index for each in opened if each.uuid})
        self._gpus = _named_by_driver(opened, driver_entries(tree or Tree()))
        self._slow: dict[int, dict[str, float]] = {index: {} for index in self._handles}
        self._slow_at = dict.fromkeys(self._handles, -math.inf)
        self._unsupported: set[tuple[int, str]] = set()
        self._instances: dict[int, Instance] = {}
        self._identities = self._look_at_instances()

    def devices(self) -> Sequence[DeviceIdentity]:
        return self._identities

    def look_again(self) -> bool:
        """Whether a device was partitioned, or its instances made or destroyed, since the last look."""
        before, self._identities = self._identities, self._look_at_instances()
        if before == self._identities:
            return False
        self._unsupported.clear()  # what is not told of a partitioned device is told of a whole one
        return True

    def read(self, index: int) -> Mapping[str, float]:
        nvml, handle = self._nvml, self._handle(index)
        if index in self._instances:
            return self._read_instance(index)
        values: dict[str, float] = {}
        with _failing(nvml):
            rates = self._ask(index, "rates", lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
            if rates is not None:
                values["utilisation_percent"], values["memory_utilisation_percent"] = rates.gpu, rates.memory
            if not self._identities[index].partitioned:
                values.update(self._memory(index, handle))
            for name, factor, call in (
                ("power_w", MILLI, lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
                ("energy_j", MILLI, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
                ("temperature_c", 1.0, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
                ("sm_clock_mhz", 1.0, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
                ("memory_clock_mhz", 1.0, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
                ("throttle_reasons", 1.0, lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
            ):
                value = self._ask(index, name, call)
                if value is not None:
                    values[name] = value * factor
            values.update(self._seldom_changing(index))
            values["xid"], values["xid_events"] = self._xids.of(index)
        return values

    def processes(self, index: int) -> Mapping[int, int]:
        nvml, handle = self._nvml, self._handle(index)
        held: dict[int, int] = {}
        if self._identities[index].partitioned:
            return held  # they are told of its instances
        with _failing(nvml):
            for name in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
                for process in self._ask(index, name, partial(getattr(nvml, name), handle)) or ():
                    held[process.pid] = max(held.get(process.pid, 0), process.usedGpuMemory or 0)
        return held

    def links(self) -> Sequence[DeviceLink]:
        with _failing(self._nvml):
            # instances do not reach each other over links (NVIDIA's MIG guide, "Application Considerations")
            whole = [handle for index, handle in self._handles.items() if not self._identities[index].partitioned]
            return nvlinks(self._nvml, whole)

    def close(self) -> None:
        with contextlib.suppress(self._nvml.NVMLError):
            self._xids.close()
            self._nvml.nvmlShutdown()

    def _look_at_instances(self) -> list[DeviceIdentity]:
        """All devices as they are now: those that are partitioned marked so, and their instances after them."""
        gpus = list(self._gpus)
        parts: list[DeviceIdentity] = []
        self._instances = {}
        for index, handle in self._handles.items():
            gpu = gpus[index]
            try:
                found = instances(self._nvml, handle)
            except self._nvml.NVMLError as error:
                gpus[index] = replace(gpu, trouble=gpu.trouble or f"its instances cannot be told: NVML: {error}")
                continue
            if found is None:
                continue
            gpus[index] = replace(gpu, partitioned=True)
            for each in found:
                place = len(gpus) + len(parts)
                self._instances[place] = each
                parts.append(_identity(place, gpu, each))
        return [*gpus, *parts]

    def _read_instance(self, index: int) -> Mapping[str, float]:
        """Its memory, and the errors that are laid to it: all else is the whole device's."""
        instance, parent = self._instances[index], self._identities[index].parent
        with _failing(self._nvml):
            values = dict(self._memory(index, instance.handle))
            if parent is not None:
                found = self._xids.of(parent, instance.gpu_instance, instance.compute_instance)
                values["xid"], values["xid_events"] = found
        return values

    def _memory(self, index: int, handle: Any) -> Mapping[str, float]:
        memory = self._ask(index, "memory", lambda: self._nvml.nvmlDeviceGetMemoryInfo(handle))
        return {} if memory is None else {"memory_used_bytes": memory.used, "memory_free_bytes": memory.free}

    def _open(self, index: int) -> DeviceIdentity:
        """What it is, and in what trouble."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            identity = DeviceIdentity(
                index=index,
                vendor=VENDOR,
                kind=text(nvml.nvmlDeviceGetName(handle)),
                uuid=text(nvml.nvmlDeviceGetUUID(handle)),
                bus=text(nvml.nvmlDeviceGetPciInfo(handle).busId),
                trouble=self._recovery(handle),
            )
        except nvml.NVMLError as error:
            return DeviceIdentity(index=index, vendor=VENDOR, kind="", trouble=f"NVML: {error}")
        self._handles[index] = handle
        return identity

    def _recovery(self, handle: Any) -> str:
        """What the driver says has to be done before the device works again; empty = nothing, or it does not say."""
        nvml = self._nvml
        try:
            field = nvml.nvmlDeviceGetFieldValues(handle, [nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])[0]
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
                raise
            return ""
        if field.nvmlReturn != nvml.NVML_SUCCESS:
            return ""
        action = int(field.value.uiVal)
        if action in (nvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT, nvml.NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT):
            return "its driver says that the machine has to be restarted"
        resets = (
            nvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET,
            nvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET,
            nvml.NVML_GPU_RECOVERY_ACTION_BUS_RESET,
        )
        return "its driver says that it has to be reset" if action in resets else ""

    def _handle(self, index: int) -> Any:
        """Raises ``ReadFailed``."""
        if index in self._instances:
            return self._instances[index].handle
        if index not in self._handles:
            raise ReadFailed(self._identities[index].trouble)
        return self._handles[index]

    def _seldom_changing(self, index: int) -> Mapping[str, float]:
        now = time.monotonic()
        if now - self._slow_at[index] < SLOW_EVERY_S:
            return self._slow[index]
        nvml, handle = self._nvml, self._handles[index]
        self._slow_at[index] = now
        kept = self._slow[index]
        aggregate = nvml.NVML_AGGREGATE_ECC
        for name, factor, call in (
            (
                "ecc_corrected",
                1.0,
                lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, aggregate),
            ),
            (
                "ecc_uncorrected",
                1.0,
                lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, aggregate),
            ),
            ("power_limit_w", MILLI, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)),
            ("memory_temperature_c", 1.0, lambda: self._memory_temperature(handle)),
        ):
            value = self._ask(index, name, call)
            if value is not None:
                kept[name] = value * factor
        return kept

    def _memory_temperature(self, handle: Any) -> float | None:
        """By the field; there is no call of its own for it."""
        nvml = self._nvml
        field = nvml.nvmlDeviceGetFieldValues(handle, [nvml.NVML_FI_DEV_MEMORY_TEMP])[0]
        if field.nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        return float(field.value.uiVal) if field.nvmlReturn == nvml.NVML_SUCCESS else None

    def _ask(self, index: int, name: str, call: Callable[[], Any]) -> Any:
        """The answer; ``None`` when the device has no such thing, or has nothing to say now."""
        nvml = self._nvml
        if (index, name) in self._unsupported:
            return None
        try:
            return call()
        except nvml.NVMLError as error:
            if error.value in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NO_PERMISSION):
                self._unsupported.add((index, name))
                return None
            if error.value == nvml.NVML_ERROR_UNKNOWN:
                return None
            raise


def _identity(index: int, gpu: DeviceIdentity, instance: Instance) -> DeviceIdentity:
    return replace(
        gpu,
        index=index,
        uuid=instance.uuid,
        memory_bytes=instance.memory_bytes,
        profile=instance.profile,
        instance=instance.name,
        parent=gpu.index,
    )


def _named_by_driver(identities: list[DeviceIdentity], entries: Sequence[DriverEntry]) -> list[DeviceIdentity]:
    """Those that NVML could not open, with what the driver tells of them: both count by PCI address."""
    opened = {address_of(each.bus) for each in identities if each.bus}
    others = iter([entry for entry in entries if entry.bus not in opened])
    named = []
    for each in identities:
        entry = None if each.bus else next(others, None)
        named.append(each if entry is None else replace(each, kind=entry.model, uuid=entry.uuid, bus=entry.bus))
    return named


@contextlib.contextmanager
def _failing(nvml: Any) -> Iterator[None]:
    """NVML's errors as ours."""
    try:
        yield
    except nvml.NVMLError as error:
        raise ReadFailed(f"NVML: {error}") from error


def open_reader() -> NvidiaReader:
    """Raises ``ReadFailed`` without a driver that answers."""
    import pynvml

    with _failing(pynvml):
        pynvml.nvmlInit()
    return NvidiaReader(pynvml)

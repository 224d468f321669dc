"""A double of NVML as its Python binding is (``pynvml``), over two H100 that may be partitioned."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

OF_NO_INSTANCE = 0xFFFFFFFF
OF_INSTANCES = frozenset(
    f"nvmlDeviceGet{what}"
    for what in (
        *("Name", "UUID", "Attributes", "GpuInstanceId", "ComputeInstanceId", "MemoryInfo"),
        *("ComputeRunningProcesses", "DeviceHandleFromMigDeviceHandle"),
    )
)
"""The calls that NVML answers for the handle of an instance."""


class NvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


@dataclass(frozen=True)
class Part:
    """An instance, which is its own handle. ``named``: whether its name tells its profile."""

    gpu_instance: int
    compute_instance: int = 0
    profile: str = "1g.10gb"
    memory_mib: int = 9984
    slices: tuple[int, int] = (1, 1)
    named: bool = True

    @property
    def uuid(self) -> str:
        return f"MIG-{self.gpu_instance:08}-0000-0000-0000-{self.compute_instance:012}"

    @property
    def attributes(self) -> SimpleNamespace:
        gpu_slices, compute_slices = self.slices
        return SimpleNamespace(
            memorySizeMB=self.memory_mib, gpuInstanceSliceCount=gpu_slices, computeInstanceSliceCount=compute_slices
        )


def xid(device: Any, code: int, gpu_instance: int = OF_NO_INSTANCE, compute_instance: int = OF_NO_INSTANCE) -> Any:
    """An event."""
    return SimpleNamespace(
        device=device, eventData=code, gpuInstanceId=gpu_instance, computeInstanceId=compute_instance
    )


class Nvml:
    """As much of NVML as the reader calls. ``refused``: calls that answer with that error. ``parts``: of devices in MIG
    mode, by index; an empty slot is ``None``."""

    NVMLError = NvmlError
    NVML_SUCCESS, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION = 0, 3, 4
    NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_NOT_FOUND, NVML_ERROR_FUNCTION_NOT_FOUND = 2, 6, 13
    NVML_ERROR_TIMEOUT, NVML_ERROR_GPU_IS_LOST, NVML_ERROR_UNKNOWN = 10, 15, 999
    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM, NVML_CLOCK_MEM = 0, 1, 2
    NVML_AGGREGATE_ECC, NVML_MEMORY_ERROR_TYPE_CORRECTED, NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1, 0, 1
    NVML_FI_DEV_MEMORY_TEMP, NVML_FI_DEV_GET_GPU_RECOVERY_ACTION = 82, 230
    NVML_GPU_RECOVERY_ACTION_GPU_RESET, NVML_GPU_RECOVERY_ACTION_NODE_REBOOT = 1, 2
    NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET, NVML_GPU_RECOVERY_ACTION_BUS_RESET = 4, 6
    NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT = 7
    NVML_DEVICE_MIG_DISABLE, NVML_DEVICE_MIG_ENABLE = 0, 1
    NVML_NVLINK_MAX_LINKS, NVML_NVLINK_DEVICE_TYPE_GPU, NVML_NVLINK_DEVICE_TYPE_SWITCH = 36, 0, 2
    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - NVML's own name

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self.lost: set[int] = set()
        self.parts: dict[int, list[Part | None]] = {}
        self.fields = {self.NVML_FI_DEV_MEMORY_TEMP: 72, self.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION: 0}
        self.calls: list[str] = []
        self.events: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        answer = self._answers().get(name)
        if answer is None:
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            self._refuse(name, arguments)
            return answer(*arguments)

        return call

    def _refuse(self, name: str, arguments: tuple[Any, ...]) -> None:
        handle = arguments[0] if arguments and name.startswith("nvmlDevice") else None
        if handle in self.lost:
            raise NvmlError(self.NVML_ERROR_GPU_IS_LOST)
        if name in self.refused:
            raise NvmlError(self.refused[name])
        if isinstance(handle, Part):
            if not any(handle in parts for parts in self.parts.values()):
                raise NvmlError(self.NVML_ERROR_INVALID_ARGUMENT)
            if name not in OF_INSTANCES:
                raise NvmlError(self.NVML_ERROR_NOT_SUPPORTED)
        elif handle is not None and (
            name == "nvmlDeviceGetAttributes" or (handle in self.parts and name == "nvmlDeviceGetUtilizationRates")
        ):
            raise NvmlError(self.NVML_ERROR_NOT_SUPPORTED)

    def _answers(self) -> dict[str, Any]:
        return self._answers_of_devices() | {
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": self._name,
            "nvmlDeviceGetUUID": lambda handle: handle.uuid if isinstance(handle, Part) else f"GPU-{handle}",
            "nvmlDeviceGetMigMode": lambda handle: [int(handle in self.parts)] * 2,
            "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": self._part,
            "nvmlDeviceGetAttributes": lambda handle: handle.attributes,
            "nvmlDeviceGetGpuInstanceId": lambda handle: handle.gpu_instance,
            "nvmlDeviceGetComputeInstanceId": lambda handle: handle.compute_instance,
            "nvmlEventSetCreate": lambda: "set",
            "nvmlDeviceRegisterEvents": lambda handle, kinds, events: None,
            "nvmlEventSetWait_v2": self._event,
            "nvmlEventSetFree": lambda events: None,
            "nvmlShutdown": lambda: None,
        }

    def _answers_of_devices(self) -> dict[str, Any]:
        return {
            "nvmlDeviceGetPciInfo": lambda handle: SimpleNamespace(busId=b"00000000:%02X:00.0" % (0x1A + handle)),
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=87, memory=41),
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetPowerUsage": lambda handle: 650_500,
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 12_345_678,
            "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
            "nvmlDeviceGetClockInfo": lambda handle, clock: {1: 1980, 2: 2619}[clock],
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 4,
            "nvmlDeviceGetTotalEccErrors": lambda handle, error, counter: {0: 5, 1: 1}[error],
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
            "nvmlDeviceGetFieldValues": lambda handle, fields: [
                SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=self.fields[fields[0]]))
            ],
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=7, usedGpuMemory=1000)],
            "nvmlDeviceGetGraphicsRunningProcesses": lambda handle: [SimpleNamespace(pid=8, usedGpuMemory=None)],
            "nvmlDeviceGetNvLinkState": lambda handle, link: int(link == 0),
            "nvmlDeviceGetNvLinkRemoteDeviceType": lambda handle, link: self.NVML_NVLINK_DEVICE_TYPE_SWITCH,
        }

    def _name(self, handle: Any) -> str:
        named = f" MIG {handle.profile}" if isinstance(handle, Part) and handle.named else ""
        return f"NVIDIA H100 80GB HBM3{named}"

    def _part(self, handle: int, slot: int) -> Part:
        parts = self.parts[handle]
        part = parts[slot] if slot < len(parts) else None
        if part is None:
            raise NvmlError(self.NVML_ERROR_NOT_FOUND)
        return part

    def _memory(self, handle: Any) -> SimpleNamespace:
        total, used = (handle.memory_mib << 20, 13 << 20) if isinstance(handle, Part) else (80 << 30, 60 << 30)
        return SimpleNamespace(total=total, used=used, free=total - used)

    def _event(self, events: Any, timeout_ms: int) -> Any:
        if not self.events:
            raise NvmlError(self.NVML_ERROR_TIMEOUT)
        return self.events.pop(0)

"""XID errors of NVIDIA's devices, by NVML's events: whose the last one was, and how many there were."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .nvml_text import text

NO_INSTANCE = 0xFFFFFFFF
"""In an event's place for an instance: it is not of any (NVML's reference, ``nvmlEventData_t``)."""

Place = tuple[int, int, int]
"""A device's index, and of an instance of it the numbers of the GPU instance and of the compute instance."""


class _Told(NamedTuple):
    order: int = 0
    code: float = 0.0
    events: int = 0


class Xids:
    """An error that NVML lays to an instance counts for its device as well.

    Args:
        handles: the devices', by index.
        indices: by the devices' names for good.
    """

    def __init__(self, nvml: Any, handles: Mapping[int, Any], indices: Mapping[str, int]) -> None:
        self._nvml, self._indices = nvml, indices
        self._told: dict[Place, _Told] = defaultdict(_Told)
        self._events = self._listen(handles.values())
        self._seen = 0

    def of(self, index: int, gpu_instance: int = NO_INSTANCE, compute_instance: int = NO_INSTANCE) -> tuple[float, int]:
        """The last code, and how many there were: of a device, or of an instance and of the GPU instance that it is
        in. Raises ``nvml.NVMLError``."""
        self._collect()
        places = {(index, gpu_instance, compute_instance), (index, gpu_instance, NO_INSTANCE)}
        told = [self._told[place] for place in places if place in self._told]
        return max(told, key=lambda each: each.order, default=_Told()).code, sum(each.events for each in told)

    def close(self) -> None:
        if self._events is not None:
            self._nvml.nvmlEventSetFree(self._events)

    def _listen(self, handles: Iterable[Any]) -> Any:
        """A set of events that every device reports its errors to; ``None`` where the driver has none."""
        nvml = self._nvml
        try:
            events = nvml.nvmlEventSetCreate()
        except nvml.NVMLError:
            return None
        listening = False
        for handle in handles:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
                listening = True
        if not listening:
            nvml.nvmlEventSetFree(events)
        return events if listening else None

    def _collect(self) -> None:
        nvml = self._nvml
        while self._events is not None:
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
            except nvml.NVMLError as error:
                if error.value == nvml.NVML_ERROR_TIMEOUT:
                    return
                raise
            index = self._indices.get(text(nvml.nvmlDeviceGetUUID(event.device)))
            if index is None:
                continue
            places = {(index, NO_INSTANCE, NO_INSTANCE), (index, event.gpuInstanceId, event.computeInstanceId)}
            self._seen += 1
            for place in places:
                self._told[place] = _Told(self._seen, float(event.eventData), self._told[place].events + 1)

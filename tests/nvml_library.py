"""A double of NVML's C library beneath its real Python binding: what the binding does of its own is tested with it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml

from nvml_double import Nvml, NvmlError

_ByReference = type(ctypes.byref(ctypes.c_int()))
INSUFFICIENT_SIZE = pynvml.NVML_ERROR_INSUFFICIENT_SIZE


class NvmlLibrary:
    """Takes the place of ``pynvml.nvmlLib``. It answers as the double does, by the calling conventions of C: an error
    as a number, results through pointers."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._handles: list[Any] = [None]

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name == "nvmlInitWithFlags":
            return lambda flags: 0
        plain = name if name == "nvmlEventSetWait_v2" else name.removesuffix("_v2").removesuffix("_v3")
        answer = getattr(self._nvml, plain)  # AttributeError, as of a library that has no such function

        def call(*arguments: Any) -> int:
            try:
                if plain.endswith("RunningProcesses"):
                    return self._processes(answer, *arguments)
                if plain == "nvmlDeviceGetFieldValues":
                    return self._fields(answer, *arguments)
                self._give(arguments, answer(*self._taken(arguments)))
            except NvmlError as error:
                return error.value
            return 0

        return call

    def _taken(self, arguments: tuple[Any, ...]) -> list[Any]:
        """What is handed in, without the places for results, and the size of a text's."""
        texts = any(isinstance(each, ctypes.Array) for each in arguments)
        taken = [each for each in arguments if not isinstance(each, (_ByReference, ctypes.Array))]
        return [self._python(each) for each in (taken[:1] if texts else taken)]

    def _python(self, argument: Any) -> Any:
        if isinstance(argument, ctypes._Pointer):
            return self._handles[ctypes.cast(argument, ctypes.c_void_p).value or 0]
        return getattr(argument, "value", argument)

    def _give(self, arguments: tuple[Any, ...], result: Any) -> None:
        places = [each._obj if isinstance(each, _ByReference) else each for each in arguments]
        outs = [place for place, each in zip(places, arguments, strict=True) if place is not each]
        outs += [each for each in arguments if isinstance(each, ctypes.Array)]
        results = result if len(outs) > 1 else [result]
        for out, value in zip(outs, results, strict=bool(outs)):
            self._write(out, value)

    def _write(self, out: Any, value: Any) -> None:
        if isinstance(out, ctypes._Pointer):
            self._handles.append(value)
            ctypes.c_void_p.from_buffer(out).value = len(self._handles) - 1
        elif isinstance(out, ctypes.Structure):
            for name, part in vars(value).items():
                if isinstance(getattr(out, name), ctypes._Pointer):
                    handle = type(getattr(out, name))()
                    self._write(handle, part)
                    setattr(out, name, handle)
                else:
                    setattr(out, name, part)
        else:
            out.value = value.encode() if isinstance(value, str) else value

    def _processes(self, answer: Callable[..., Any], handle: Any, count: Any, room: Any) -> int:
        found = answer(self._python(handle))
        count._obj.value = len(found)
        if room is None:
            return INSUFFICIENT_SIZE if found else 0
        for place, process in zip(room, found, strict=False):
            none = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
            self._write(place, SimpleNamespace(**{**vars(process), "usedGpuMemory": process.usedGpuMemory or none}))
        return 0

    def _fields(self, answer: Callable[..., Any], handle: Any, count: Any, values: Any) -> int:
        for place in values._obj:
            (found,) = answer(self._python(handle), [place.fieldId])
            place.nvmlReturn, place.value.uiVal = found.nvmlReturn, found.value.uiVal
        return 0

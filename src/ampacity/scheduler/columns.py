"""Columns of what is left, one row a node, and how an allocation is taken off and given back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ampacity.model.fits import Free
from ampacity.model.node import Health, Node
from ampacity.model.resources import Allocation

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

T = TypeVar("T", bound=np.generic)


@dataclass(slots=True)
class Answers:
    """How well a request fits each row, and of which version of the row that holds.

    Attributes:
        room: on how many rows it fits.
        read: how far the fleet's journal has been followed.
    """

    key: Ints
    version: Ints
    room: int = 0
    read: int = -1


def sums(table: npt.NDArray[np.int32] | npt.NDArray[np.int64] | Flags) -> Ints:
    """(rows): the sum of each row of a table with few columns, which is quicker column by column."""
    found = np.zeros(len(table), np.int64)
    for column in range(table.shape[1]):
        found += table[:, column]
    return found


class Left(Protocol):
    """What is left, one row a node: a fleet's own, or that of a board over it."""

    @property
    def cpu_left(self) -> Ints: ...
    @property
    def memory_left(self) -> Ints: ...
    @property
    def disk_left(self) -> Ints: ...
    @property
    def power_used_w(self) -> Ints: ...
    @property
    def device_left(self) -> Counts: ...
    @property
    def counted_left(self) -> dict[str, Ints]: ...


def give(left: Left, parts: Iterable[tuple[int, int]], row: int, allocation: Allocation, sign: int) -> None:
    """Give an allocation back to a row, or with ``sign`` -1 take it off. ``parts``: its devices' slots."""
    left.cpu_left[row] += sign * allocation.cpu_milli
    left.memory_left[row] += sign * allocation.memory_bytes
    left.disk_left[row] += sign * allocation.disk_bytes
    if allocation.power_w:
        left.power_used_w[row] -= sign * allocation.power_w
    for each in allocation.counted:
        if each.name in left.counted_left:
            left.counted_left[each.name][row] += sign * each.amount
    for slot, milli in parts:
        left.device_left[row, slot] += sign * milli


def free_of_row(node: Node, left: Left, row: int) -> Free:
    """One row as a record. Failed devices are absent, as in :func:`~ampacity.model.fits.capacity`."""
    devices = sorted(node.devices, key=lambda device: device.index)
    return Free(
        cpu_milli=int(left.cpu_left[row]),
        memory_bytes=int(left.memory_left[row]),
        disk_bytes=int(left.disk_left[row]),
        device_milli={
            device.id: int(milli)
            for device, milli in zip(devices, left.device_left[row].tolist(), strict=False)
            if device.health is not Health.FAILED
        },
        counted={name: int(left.counted_left[name][row]) for name in node.counted},
    )


def larger(column: npt.NDArray[T], shape: tuple[int, ...], fill: int) -> npt.NDArray[T]:
    """The column with more room, which ``fill`` stands in."""
    grown = np.full(shape, fill, column.dtype)
    grown[tuple(slice(length) for length in column.shape)] = column
    return grown

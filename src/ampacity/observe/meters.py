"""What one member, and each of its ranks, uses: sampled, added up and written."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .columns import MEMBER, RANK
from .device_rings import DeviceRings
from .members import RunningMember
from .places import member_ring, rank_ring
from .processes import NO_RANK, OwnNetwork, Process, Usage
from .ring import Column, Layout, RingWriter

MOST_RANKS = 256
"""Series of ranks that one member may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUse:
    """What the whole machine used since the sample before: what members' shares are taken from. ``energy_j``: NaN when
    it is not known."""

    cpu_s: float
    energy_j: float


class Counter:
    """Follows totals that may begin anew (a rank was started again): its value never falls."""

    __slots__ = ("_base", "value")

    def __init__(self, value: float = 0.0) -> None:
        self.value = 0.0 if math.isnan(value) else value
        self._base = 0.0

    def follow(self, total: float) -> float:
        """Take in the total; the value's growth."""
        before = self.value
        if self._base + total < before:
            self._base = before - total
        self.value = self._base + total
        return self.value - before


class _Series:
    """One file and the counters in it, that go on where its last record stands."""

    def __init__(self, path: str, kind: str, columns: Sequence[Column], labels: dict[str, str]) -> None:
        self.writer = RingWriter(path, Layout(kind, columns, labels))
        self.last = self.writer.found
        index = self.writer.layout.index
        self.cpu, self.read, self.written = (
            Counter(self.last[index[name]] if self.last else 0.0)
            for name in ("cpu_s", "disk_read_bytes", "disk_write_bytes")
        )
        self.at = math.nan

    def recorded(self, name: str) -> float:
        """The value of the last record; NaN without one."""
        return math.nan if self.last is None else self.last[self.writer.layout.index[name]]

    def follow(self, at: float, usage: Usage) -> tuple[float, float]:
        """Take in what is used now. CPU seconds since the sample before, and percent of one CPU (NaN at first)."""
        used_s = self.cpu.follow(usage.cpu_s)
        self.read.follow(usage.read_bytes)
        self.written.follow(usage.written_bytes)
        before, self.at = self.at, at
        return used_s, 100.0 * used_s / (at - before) if at > before else math.nan


class MemberMeter:
    """Samples one member. Its files go on where they stand: nothing is counted twice over a restart of the collector.

    Raises:
        OSError: its file cannot be made.
    """

    def __init__(self, member: RunningMember, folder: str, devices: DeviceRings) -> None:
        self.member, self._folder = member, folder
        self._series = _Series(os.path.join(folder, member_ring(member.name)), "member", MEMBER, dict(member.labels))
        self._network = OwnNetwork(member.supervisor)
        self._ranks: dict[int, _Series] = {}
        self._usage, self._rank_usage = Usage(), Usage()
        since = None if self._series.last is None else self._series.last[0]
        self._energy_before = {use.device: devices.energy_j(use.device, since) for use in member.devices}
        self._device_j = self._series.recorded("device_energy_j")
        self._host_j = self._series.recorded("host_energy_j")

    def sample(
        self, at: float, processes: Collection[Process], host: HostUse, devices: DeviceRings, *, io: bool
    ) -> list[Process]:
        """Write one sample of all; the processes that are gone."""
        gone, by_rank = self._look_at(processes, io=io)
        used_s, cpu_percent = self._series.follow(at, self._usage)
        self._add_energy(used_s, host, devices)
        utilisation, power_w = self._device_load(devices)
        received, sent = self._network.read()
        series = self._series
        values = {
            "cpu_s": series.cpu.value,
            "disk_read_bytes": series.read.value,
            "disk_write_bytes": series.written.value,
            "network_receive_bytes": received,
            "network_transmit_bytes": sent,
            "device_energy_j": self._device_j,
            "host_energy_j": self._host_j,
            "energy_j": _sum_of_known(self._device_j, self._host_j),
            "cpu_percent": cpu_percent,
            "memory_bytes": self._usage.memory_bytes,
            "processes": self._usage.processes,
            "threads": self._usage.threads,
            "device_utilisation_percent": utilisation,
            "device_memory_bytes": self._held_bytes(processes, devices),
            "device_power_w": power_w,
        }
        series.writer.append(at, [values[column.name] for column in MEMBER])
        for rank in sorted(by_rank):
            self._sample_rank(at, rank, by_rank[rank], devices)
        return gone

    def _look_at(self, processes: Collection[Process], *, io: bool) -> tuple[list[Process], dict[int, list[Process]]]:
        """Take in what they use. Those that are gone, and the others of each rank."""
        gone: list[Process] = []
        by_rank: dict[int, list[Process]] = {}
        self._usage.clear()
        for process in processes:
            if not process.look(io=io):
                gone.append(process)
                continue
            self._usage.add(process)
            if process.rank != NO_RANK:
                by_rank.setdefault(process.rank, []).append(process)
        return gone, by_rank

    def close(self) -> None:
        self._network.close()
        for series in (self._series, *self._ranks.values()):
            series.writer.close()

    def _held_bytes(self, processes: Collection[Process], devices: DeviceRings) -> float:
        return devices.held_bytes(process.pid for process in processes) if self.member.devices else math.nan

    def _sample_rank(self, at: float, rank: int, processes: list[Process], devices: DeviceRings) -> None:
        series = self._ranks.get(rank)
        if series is None:
            if len(self._ranks) >= MOST_RANKS:
                return
            path = os.path.join(self._folder, rank_ring(self.member.name, rank))
            series = self._ranks[rank] = _Series(path, "rank", RANK, {**self.member.labels, "rank": str(rank)})
        usage = self._rank_usage
        usage.clear()
        for process in processes:
            usage.add(process)
        _, cpu_percent = series.follow(at, usage)
        device = self._device_of(rank)
        values = {
            "cpu_s": series.cpu.value,
            "disk_read_bytes": series.read.value,
            "disk_write_bytes": series.written.value,
            "cpu_percent": cpu_percent,
            "memory_bytes": usage.memory_bytes,
            "device_utilisation_percent": math.nan if device is None else devices.value(device, "utilisation_percent"),
            "device_memory_bytes": devices.held_bytes([process.pid for process in processes]) if device else math.nan,
        }
        series.writer.append(at, [values[column.name] for column in RANK])

    def _device_of(self, rank: int) -> str | None:
        """The device of a rank, where each has one of its own (``LOCAL_RANK`` counts the visible devices)."""
        uses = self.member.devices
        return uses[rank % self.member.ranks].device if uses and len(uses) == self.member.ranks else None

    def _device_load(self, devices: DeviceRings) -> tuple[float, float]:
        """The mean utilisation of its devices by share, and the sum of its shares of their power."""
        uses = self.member.devices
        if not uses:
            return math.nan, math.nan
        whole = sum(use.share for use in uses)
        busy = sum(use.share * devices.value(use.device, "utilisation_percent") for use in uses)
        return busy / whole, sum(use.share * devices.value(use.device, "power_w") for use in uses)

    def _add_energy(self, used_s: float, host: HostUse, devices: DeviceRings) -> None:
        """Its share of what its devices used, and of what the CPUs used by its part of their busy time."""
        for use in self.member.devices:
            now_j, before_j = devices.energy_j(use.device), self._energy_before[use.device]
            if not math.isnan(now_j):
                self._device_j = 0.0 if math.isnan(self._device_j) else self._device_j
                if now_j >= before_j:  # not at first, nor when the driver was loaded anew
                    self._device_j += use.share * (now_j - before_j)
                self._energy_before[use.device] = now_j
        if not math.isnan(host.energy_j):
            part = min(1.0, used_s / host.cpu_s) if host.cpu_s > 0 else 0.0
            self._host_j = (0.0 if math.isnan(self._host_j) else self._host_j) + part * host.energy_j


def _sum_of_known(*values: float) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) if known else math.nan

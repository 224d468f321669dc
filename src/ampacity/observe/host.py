"""This machine, sample by sample: CPU, memory, disks, network, pressure, energy."""

from __future__ import annotations

import math
import os
import resource
import time

from .columns import HOST
from .proc_files import KeptFile, network_bytes
from .rapl import PackageEnergy

LOOK_FOR_HARDWARE_EVERY_S = 60.0
SECTOR_BYTES = 512
"""``/proc/diskstats`` counts in these, whatever the disk's own sectors are (the kernel's page on I/O statistics)."""

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")


class HostSampler:
    """One sample a call, as the values of ``columns.HOST`` in their order.

    Args:
        energy_j: where the energy counter goes on.
    """

    def __init__(self, *, energy_j: float = 0.0) -> None:
        self._stat = KeptFile("/proc/stat", limit=512)
        self._memory = KeptFile("/proc/meminfo", limit=2048)
        self._disks = KeptFile("/proc/diskstats", limit=65536)
        self._network = KeptFile("/proc/net/dev", limit=65536)
        self._load = KeptFile("/proc/loadavg", limit=128)
        self._pressure = [KeptFile(f"/proc/pressure/{name}", limit=128) for name in ("cpu", "memory", "io")]
        self._package = PackageEnergy(begin_at_j=energy_j)
        self._disk_names: frozenset[bytes] = frozenset()
        self._interfaces: frozenset[bytes] | None = None
        self._looked_at = -math.inf
        self._before: tuple[float, float, float, float] | None = None
        self.cpu_s = 0.0

    def sample(self) -> list[float]:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_FOR_HARDWARE_EVERY_S:
            self._looked_at = now
            self._disk_names, self._interfaces = _disks(), _interfaces()
        self.cpu_s, waited_s, idle_s = _cpu_times(self._stat.read())
        cpus = float(os.cpu_count() or 1)
        cpu_percent, iowait_percent = self._shares(self.cpu_s, waited_s, idle_s)
        memory = self._memory.read()
        read_bytes, written_bytes = _disk_bytes(self._disks.read(), self._disk_names)
        received, sent = network_bytes(self._network.read(), self._interfaces)
        energy_j, power_w = self._package.sample(now)
        own = resource.getrusage(resource.RUSAGE_SELF)
        values = {
            "cpu_s": self.cpu_s,
            "disk_read_bytes": read_bytes,
            "disk_write_bytes": written_bytes,
            "network_receive_bytes": received,
            "network_transmit_bytes": sent,
            "energy_j": energy_j,
            "collector_cpu_s": own.ru_utime + own.ru_stime,
            "memory_total_bytes": _memory_bytes(memory, b"MemTotal:"),
            "cpus": cpus,
            "cpu_percent": cpu_percent,
            "iowait_percent": iowait_percent,
            "load1": float(self._load.read().split(b" ", 1)[0] or "nan"),
            "memory_available_bytes": _memory_bytes(memory, b"MemAvailable:"),
            "swap_used_bytes": _memory_bytes(memory, b"SwapTotal:") - _memory_bytes(memory, b"SwapFree:"),
            "pressure_cpu_percent": _pressure(self._pressure[0].read()),
            "pressure_memory_percent": _pressure(self._pressure[1].read()),
            "pressure_io_percent": _pressure(self._pressure[2].read()),
            "power_w": power_w,
        }
        return [values[column.name] for column in HOST]

    def _shares(self, busy_s: float, waited_s: float, idle_s: float) -> tuple[float, float]:
        """Percent of all CPUs' time since the last sample that was busy, and that waited for disks."""
        total_s = busy_s + waited_s + idle_s
        before, self._before = self._before, (busy_s, waited_s, idle_s, total_s)
        if before is None or total_s <= before[3]:
            return math.nan, math.nan
        whole_s = total_s - before[3]
        busy = 100.0 * (busy_s - before[0]) / whole_s
        return min(100.0, max(0.0, busy)), min(100.0, max(0.0, 100.0 * (waited_s - before[1]) / whole_s))


def _cpu_times(stat: bytes) -> tuple[float, float, float]:
    """Seconds of all CPUs since boot: busy, waiting for disks, idle. Guests' time is in ``user`` already (proc(5))."""
    fields = stat[: stat.find(b"\n")].split()
    if len(fields) < 9:
        return math.nan, math.nan, math.nan
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) * _TICK_S for field in fields[1:9])
    return user + nice + system + irq + softirq + steal, iowait, idle


def _memory_bytes(table: bytes, name: bytes) -> float:
    at = table.find(name)
    if at < 0:
        return math.nan
    return float(table[at + len(name) : table.find(b"\n", at)].split()[0]) * 1024


def _pressure(text: bytes) -> float:
    """``avg10`` of the line ``some``: percent of the last 10 s."""
    at = text.find(b"avg10=")
    return float(text[at + 6 : text.find(b" ", at)]) if at >= 0 else math.nan


def _disk_bytes(table: bytes, names: frozenset[bytes]) -> tuple[int, int]:
    read = written = 0
    for line in table.split(b"\n"):
        fields = line.split()
        if len(fields) > 9 and fields[2] in names:
            read += int(fields[5])
            written += int(fields[9])
    return read * SECTOR_BYTES, written * SECTOR_BYTES


def _disks() -> frozenset[bytes]:
    """Whole disks: what is built from others (LVM, RAID) or in memory would count twice, or not at all."""
    try:
        names = os.listdir("/sys/block")
    except OSError:
        return frozenset()
    return frozenset(name.encode() for name in names if not name.startswith(_NOT_DISKS))


def _interfaces() -> frozenset[bytes] | None:
    """The interfaces with hardware behind them: bridges and their ends would count twice. ``None``: none has."""
    try:
        names = os.listdir("/sys/class/net")
    except OSError:
        return None
    real = [name.encode() for name in names if os.path.exists(f"/sys/class/net/{name}/device")]
    return frozenset(real) or None

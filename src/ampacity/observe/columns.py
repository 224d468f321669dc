"""What is kept of each thing that is watched. Units are in the names; counters only grow, and are kept by ``LAST``."""

from __future__ import annotations

from typing import Final

from .ring import Column, Fold


def _gauges(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name) for name in names)


def _counters(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, fold=Fold.LAST) for name in names)


HOST: Final = (
    *_counters("cpu_s", "disk_read_bytes", "disk_write_bytes", "network_receive_bytes", "network_transmit_bytes"),
    *_counters("energy_j", "collector_cpu_s", "memory_total_bytes", "cpus"),
    *_gauges("cpu_percent", "iowait_percent", "load1", "memory_available_bytes", "swap_used_bytes"),
    *_gauges("pressure_cpu_percent", "pressure_memory_percent", "pressure_io_percent", "power_w"),
)
"""``cpu_s``: busy seconds of all CPUs. ``energy_j``, ``power_w``: the CPUs' packages, where RAPL can be read.
``pressure_*``: share of the last 10 s in which some task waited (PSI)."""

DEVICE: Final = (
    *_gauges("utilisation_percent", "memory_utilisation_percent", "memory_used_bytes", "memory_free_bytes"),
    *_gauges("power_w", "power_limit_w", "temperature_c", "memory_temperature_c", "sm_clock_mhz", "memory_clock_mhz"),
    *_counters("energy_j", "ecc_corrected", "ecc_uncorrected", "xid", "xid_events", "throttle_reasons"),
)
"""``energy_j``: the device's own counter, or its power integrated. ``xid``: the last code, 0 = none since the start.
``throttle_reasons``: the bits of the vendor's mask (for NVIDIA ``nvmlClocksEventReason*``)."""

MEMBER: Final = (
    *_counters("cpu_s", "disk_read_bytes", "disk_write_bytes", "network_receive_bytes", "network_transmit_bytes"),
    *_counters("device_energy_j", "host_energy_j", "energy_j"),
    *_gauges("cpu_percent", "memory_bytes", "processes", "threads"),
    *_gauges("device_utilisation_percent", "device_memory_bytes", "device_power_w"),
)
"""One member of an attempt. ``memory_bytes``: the sum of its processes' resident sets (shared pages count for each).
``network_*``: only where it has a network namespace of its own."""

RANK: Final = (
    *_counters("cpu_s", "disk_read_bytes", "disk_write_bytes"),
    *_gauges("cpu_percent", "memory_bytes", "device_utilisation_percent", "device_memory_bytes"),
)

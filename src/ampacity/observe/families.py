"""From measurements to Prometheus's families: DCGM's names for devices, ``ampacity_*`` for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .exposition import Family, Kind
from .measured import Measurements, Series

MOST_MEMBERS: Final = 2000
MOST_RANKS: Final = 4000
"""How many members' and ranks' series are told at most, so that a crowd of small jobs does not flood a database."""

MEBIBYTE, KILO = 2.0**-20, 1e3

_DEVICE: Final = (
    ("DCGM_FI_DEV_GPU_UTIL", Kind.GAUGE, "utilisation_percent", 1.0, "Utilisation, in percent."),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", Kind.GAUGE, "memory_utilisation_percent", 1.0, "Memory bandwidth used, in percent."),
    ("DCGM_FI_DEV_FB_USED", Kind.GAUGE, "memory_used_bytes", MEBIBYTE, "Memory in use, in MiB."),
    ("DCGM_FI_DEV_FB_FREE", Kind.GAUGE, "memory_free_bytes", MEBIBYTE, "Memory that is free, in MiB."),
    ("DCGM_FI_DEV_POWER_USAGE", Kind.GAUGE, "power_w", 1.0, "Power draw, in watts."),
    ("DCGM_FI_DEV_POWER_MGMT_LIMIT", Kind.GAUGE, "power_limit_w", 1.0, "Power limit in force, in watts."),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Kind.COUNTER, "energy_j", KILO, "Energy used, in mJ."),
    ("DCGM_FI_DEV_GPU_TEMP", Kind.GAUGE, "temperature_c", 1.0, "Temperature, in degrees Celsius."),
    ("DCGM_FI_DEV_MEMORY_TEMP", Kind.GAUGE, "memory_temperature_c", 1.0, "Memory's temperature, in degrees Celsius."),
    ("DCGM_FI_DEV_SM_CLOCK", Kind.GAUGE, "sm_clock_mhz", 1.0, "Clock of the multiprocessors, in MHz."),
    ("DCGM_FI_DEV_MEM_CLOCK", Kind.GAUGE, "memory_clock_mhz", 1.0, "Clock of the memory, in MHz."),
    ("DCGM_FI_DEV_XID_ERRORS", Kind.GAUGE, "xid", 1.0, "Code of the last XID error; 0: none since it is watched."),
    ("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", Kind.COUNTER, "ecc_corrected", 1.0, "Memory errors that were corrected."),
    ("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", Kind.COUNTER, "ecc_uncorrected", 1.0, "Memory errors that were not."),
    ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", Kind.GAUGE, "throttle_reasons", 1.0, "Why clocks are held down, as bits."),
)
_HOST: Final = (
    ("ampacity_host_cpu_seconds", Kind.COUNTER, "cpu_s", "Busy time of all CPUs."),
    ("ampacity_host_cpus", Kind.GAUGE, "cpus", "CPUs of the machine."),
    ("ampacity_host_cpu_percent", Kind.GAUGE, "cpu_percent", "Busy share of all CPUs' time, in the last second."),
    ("ampacity_host_iowait_percent", Kind.GAUGE, "iowait_percent", "Share of all CPUs' time that waited for disks."),
    ("ampacity_host_load1", Kind.GAUGE, "load1", "Load average over one minute."),
    ("ampacity_host_memory_bytes", Kind.GAUGE, "memory_total_bytes", "Memory of the machine."),
    ("ampacity_host_memory_available_bytes", Kind.GAUGE, "memory_available_bytes", "Memory that can be had."),
    ("ampacity_host_swap_used_bytes", Kind.GAUGE, "swap_used_bytes", "Swap in use."),
    ("ampacity_host_disk_read_bytes", Kind.COUNTER, "disk_read_bytes", "Read from all disks."),
    ("ampacity_host_disk_write_bytes", Kind.COUNTER, "disk_write_bytes", "Written to all disks."),
    ("ampacity_host_network_receive_bytes", Kind.COUNTER, "network_receive_bytes", "Received by all interfaces."),
    ("ampacity_host_network_transmit_bytes", Kind.COUNTER, "network_transmit_bytes", "Sent by all interfaces."),
    ("ampacity_host_pressure_cpu_percent", Kind.GAUGE, "pressure_cpu_percent", "Tasks waited for a CPU (PSI, 10 s)."),
    ("ampacity_host_pressure_memory_percent", Kind.GAUGE, "pressure_memory_percent", "Tasks waited for memory (PSI)."),
    ("ampacity_host_pressure_io_percent", Kind.GAUGE, "pressure_io_percent", "Tasks waited for disks (PSI)."),
    ("ampacity_host_energy_joules", Kind.COUNTER, "energy_j", "Energy of the CPUs' packages (RAPL)."),
    ("ampacity_host_power_watts", Kind.GAUGE, "power_w", "Power of the CPUs' packages (RAPL)."),
    ("ampacity_collector_cpu_seconds", Kind.COUNTER, "collector_cpu_s", "CPU time of the collector itself."),
)
_MEMBER: Final = (
    ("ampacity_attempt_cpu_seconds", Kind.COUNTER, "cpu_s", "CPU time of the member's processes."),
    ("ampacity_attempt_memory_bytes", Kind.GAUGE, "memory_bytes", "Resident memory of the member's processes."),
    ("ampacity_attempt_processes", Kind.GAUGE, "processes", "Processes of the member."),
    ("ampacity_attempt_threads", Kind.GAUGE, "threads", "Threads of the member."),
    ("ampacity_attempt_disk_read_bytes", Kind.COUNTER, "disk_read_bytes", "Read from disks."),
    ("ampacity_attempt_disk_write_bytes", Kind.COUNTER, "disk_write_bytes", "Written to disks."),
    ("ampacity_attempt_network_receive_bytes", Kind.COUNTER, "network_receive_bytes", "Received (own network only)."),
    ("ampacity_attempt_network_transmit_bytes", Kind.COUNTER, "network_transmit_bytes", "Sent (own network only)."),
    ("ampacity_attempt_device_utilisation_percent", Kind.GAUGE, "device_utilisation_percent", "Mean of its devices."),
    ("ampacity_attempt_device_memory_bytes", Kind.GAUGE, "device_memory_bytes", "Device memory that it holds."),
    ("ampacity_attempt_device_power_watts", Kind.GAUGE, "device_power_w", "Its share of its devices' power."),
    ("ampacity_attempt_device_energy_joules", Kind.COUNTER, "device_energy_j", "Its share of its devices' energy."),
    ("ampacity_attempt_host_energy_joules", Kind.COUNTER, "host_energy_j", "Its share of the CPUs' energy."),
    ("ampacity_attempt_energy_joules", Kind.COUNTER, "energy_j", "Its devices' and CPUs' energy, as far as known."),
)
_RANK: Final = (
    ("ampacity_rank_cpu_seconds", Kind.COUNTER, "cpu_s", "CPU time of the rank's processes."),
    ("ampacity_rank_memory_bytes", Kind.GAUGE, "memory_bytes", "Resident memory of the rank's processes."),
    ("ampacity_rank_device_utilisation_percent", Kind.GAUGE, "device_utilisation_percent", "Its device, in percent."),
    ("ampacity_rank_device_memory_bytes", Kind.GAUGE, "device_memory_bytes", "Device memory that it holds."),
)


def measured_families(seen: Measurements) -> list[Family]:
    """The families of all that is watched, with the labels that the series carry."""
    families = []
    for name, kind, column, factor, text in _DEVICE:
        family = Family(name, kind, text, bare=True)
        for series in seen.devices:
            value = series.value(column)
            family.add(None if value is None else value * factor, series.labels)
        families.append(family)
    for table, all_series in (
        (_HOST, seen.hosts),
        (_MEMBER, seen.members[:MOST_MEMBERS]),
        (_RANK, seen.ranks[:MOST_RANKS]),
    ):
        families.extend(_families(table, all_series))
    up = Family("ampacity_collector_up", Kind.GAUGE, "Whether the machine was measured in the last seconds.")
    up.add(1 if seen.hosts else 0, {})
    dropped = Family("ampacity_series_dropped", Kind.GAUGE, "Members and ranks that are left out here: too many.")
    dropped.add(len(seen.members[MOST_MEMBERS:]), {"of": "members"})
    dropped.add(len(seen.ranks[MOST_RANKS:]), {"of": "ranks"})
    return [*families, up, dropped]


def _families(table: Sequence[tuple[str, Kind, str, str]], all_series: Sequence[Series]) -> list[Family]:
    families = []
    for name, kind, column, text in table:
        family = Family(name, kind, text)
        for series in all_series:
            family.add(series.value(column), series.labels)
        families.append(family)
    return families

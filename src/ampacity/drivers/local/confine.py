"""What limits members on this machine, and what each is given of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ampacity.drivers.base import Launch
from ampacity.drivers.supervisor.cgroup import Cgroup
from ampacity.drivers.supervisor.cgroup_place import TREE, find_places
from ampacity.model.node import Device, LimitedBy, NodeLimits

from .device_files import denials

MOST_PROCESSES = 32_768
"""Processes and threads of a member that names no limit: far above any honest use, below what stops a machine."""
_VERSIONS = {1: LimitedBy.CGROUP_V1, 2: LimitedBy.CGROUP_V2}


class Confinement:
    """Where this driver makes cgroups, and the limits that members get.

    Args:
        folder: the driver's; cgroups are named after it, so that two drivers on one machine never meet.
        places: as :func:`find_places` has them; none = look.
    """

    def __init__(self, folder: Path, places: Mapping[str, tuple[int, str]] | None = None) -> None:
        self._places = dict(find_places() if places is None else places)
        self._prefix = f"ampacity-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}-"

    @property
    def description(self) -> NodeLimits:
        def kernel(controller: str, otherwise: LimitedBy) -> LimitedBy:
            return _VERSIONS[self._places[controller][0]] if controller in self._places else otherwise

        return NodeLimits(
            cpu=kernel("cpu", LimitedBy.AFFINITY),
            memory=kernel("memory", LimitedBy.WATCHED),
            processes=kernel("pids", LimitedBy.NONE),
            devices=kernel("devices", LimitedBy.NONE),
            disk=LimitedBy.WATCHED,
        )

    def of(self, launch: Launch, *, given: Collection[Device] = (), known: Collection[Device] = ()) -> dict[str, Any]:
        """What ``member.json`` says about it.

        Args:
            given: the devices that it was given.
            known: its node's devices; none = none are kept from it.
        """
        limits = {
            "cpu_share_milli": launch.allocation.cpu_milli or None,
            "cpu_milli": launch.limits.cpu_milli,
            "memory_bytes": launch.limits.memory_bytes,
            "disk_bytes": launch.limits.disk_bytes,
            "processes": launch.limits.processes or _most_processes(),
            "log_bytes": launch.limits.log_bytes,
            "devices_denied": denials(given, known) if known else [],
        }
        wanted = {
            "cpu": limits["cpu_share_milli"] or limits["cpu_milli"],
            "memory": limits["memory_bytes"],
            "pids": limits["processes"],
            "devices": limits["devices_denied"],
            TREE: True,
        }
        cgroups = {
            kind: [version, os.path.join(base, self._prefix + str(launch.key))]
            for kind, (version, base) in self._places.items()
            if wanted[kind] or (version == 2 and kind != "devices")
        }
        return {"limits": limits, "cgroups": cgroups}

    def leftovers(self, is_wanted: Callable[[str], bool]) -> list[Cgroup]:
        """Cgroups of this driver's members that are not wanted. One may still run: then its cgroup cannot be
        removed."""
        found: dict[str, dict[str, tuple[int, str]]] = {}
        for kind, (version, base) in self._places.items():
            try:
                names = os.listdir(base)
            except OSError:
                continue
            for name in names:
                if name.startswith(self._prefix) and not is_wanted(name[len(self._prefix) :]):
                    found.setdefault(name, {})[kind] = (version, os.path.join(base, name))
        return [Cgroup(folders) for folders in found.values()]


def _most_processes() -> int:
    try:
        with open("/proc/sys/kernel/pid_max") as file:
            return min(MOST_PROCESSES, int(file.read()) // 2)
    except (OSError, ValueError):
        return MOST_PROCESSES

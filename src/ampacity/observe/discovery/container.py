"""What cgroups, of version 1 or 2, leave to this process."""

from __future__ import annotations

from collections.abc import Iterator

from ampacity.model.hardware import ContainerLimits
from ampacity.model.resources import WHOLE_MILLI

from .tree import Tree

GROUPS = "/sys/fs/cgroup"
NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes "no limit" as the largest number of pages."""


def read_container(tree: Tree) -> ContainerLimits:
    """The tightest of the limits of its cgroup and of those above it, as far as they can be seen from here."""
    cpu: list[int] = []
    memory: list[int] = []
    cpus = ""
    for controller, path in _memberships(tree.text("/proc/self/cgroup")):
        for place in _upwards(tree, controller, path):
            cpu += _quota_milli(tree, place)
            memory += _memory_bytes(tree, place)
            if controller in ("", "cpuset") and not cpus:
                cpus = tree.text(f"{place}/cpuset.cpus.effective") or tree.text(f"{place}/cpuset.effective_cpus")
    return ContainerLimits(
        cpu_milli=min(cpu, default=None),
        cpus="" if cpus == tree.text("/sys/devices/system/cpu/online") else cpus,
        memory_bytes=min(memory, default=None),
    )


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """Controller and path; the controller is empty for version 2. ``5:cpu,cpuacct:/a/b`` names two."""
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            if not controller.startswith("name="):
                yield controller, path


def _upwards(tree: Tree, controller: str, path: str) -> Iterator[str]:
    """The folders from the cgroup up to the mount. In a container without a namespace the path is the host's, of which
    only the mount itself is seen: it comes last, always."""
    bases = (f"{GROUPS}/{controller}",) if controller else (GROUPS, f"{GROUPS}/unified")
    for base in bases:
        parts = [part for part in path.split("/") if part and part != ".."]
        for count in range(len(parts), -1, -1):
            place = "/".join([base, *parts[:count]])
            if tree.exists(place):
                yield place


def _quota_milli(tree: Tree, place: str) -> list[int]:
    words = tree.text(f"{place}/cpu.max").split()
    if len(words) != 2:
        words = [tree.text(f"{place}/cpu.cfs_quota_us"), tree.text(f"{place}/cpu.cfs_period_us")]
    if not all(word.isdigit() and int(word) for word in words):
        return []  # "max", "-1", or no such file
    return [max(1, int(words[0]) * WHOLE_MILLI // int(words[1]))]


def _memory_bytes(tree: Tree, place: str) -> list[int]:
    values = [tree.number(f"{place}/{name}") for name in ("memory.max", "memory.limit_in_bytes")]
    return [value for value in values if value is not None and 0 < value < NO_LIMIT_BYTES]

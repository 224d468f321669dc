"""CPUs and their NUMA nodes, from ``/proc/cpuinfo`` and ``/sys/devices/system``."""

from __future__ import annotations

import platform
import re

from ampacity.model.hardware import NumaNode, Processor

from .tree import Tree, listed

KIB = 1024
CPUS = "/sys/devices/system/cpu"
NODES = "/sys/devices/system/node"


def read_processor(tree: Tree) -> Processor:
    """Sockets and cores by the kernel's topology files, where it has them; else by ``/proc/cpuinfo``."""
    info = tree.text("/proc/cpuinfo")
    online = sorted(listed(tree.text(f"{CPUS}/online")))
    if not online:
        online = sorted(int(number) for number in re.findall(r"^processor\s*:\s*(\d+)", info, re.MULTILINE))
    sockets, cores = set(), set()
    for cpu in online:
        place = f"{CPUS}/cpu{cpu}/topology"
        socket, core = tree.text(f"{place}/physical_package_id"), tree.text(f"{place}/core_id")
        die = tree.text(f"{place}/die_id")
        if socket and core:
            sockets.add(socket)
            cores.add((socket, die, core))
    return Processor(
        model=_model(info),
        architecture=platform.machine(),
        sockets=len(sockets) or min(1, len(online)),
        cores=len(cores) or len(online),
        threads=len(online),
    )


def read_numa_nodes(tree: Tree) -> tuple[NumaNode, ...]:
    """In their order; a node may have memory only, or CPUs only."""
    found = []
    for name in tree.names(NODES):
        number = re.fullmatch(r"node(\d+)", name)
        if number is None:
            continue
        place = f"{NODES}/{name}"
        memory = re.search(r"MemTotal:\s+(\d+) kB", tree.text(f"{place}/meminfo"))
        distances = tree.text(f"{place}/distance").split()
        found.append(
            NumaNode(
                index=int(number[1]),
                cpus=tree.text(f"{place}/cpulist"),
                memory_bytes=int(memory[1]) * KIB if memory else 0,
                distances=tuple(int(each) for each in distances),
            )
        )
    return tuple(found)


def read_memory_bytes(tree: Tree) -> int:
    """All memory that the kernel has; 0 when it does not say."""
    words = tree.table("/proc/meminfo").get("MemTotal", "0").split()
    return int(words[0]) * KIB


def _model(info: str) -> str:
    """``model name`` on x86; ARM says less: its first of ``Model``, ``Hardware``, ``CPU part``."""
    for key in ("model name", "cpu model", "Model", "Hardware", "CPU part"):
        found = re.search(rf"^{key}\s*:\s*(.+)$", info, re.MULTILINE)
        if found:
            return " ".join(found[1].split())
    return ""

"""All but the accelerators, in one look."""

from __future__ import annotations

from ampacity.model.hardware import Hardware
from ampacity.model.resources import WHOLE_MILLI

from .container import read_container
from .disks import Measure, read_disks, room
from .network import read_interfaces, read_rdma
from .processor import read_memory_bytes, read_numa_nodes, read_processor
from .tree import Tree


def read_machine(tree: Tree, measure: Measure = room) -> Hardware:
    """CPUs, memory, disks and network. May hang on a network's file system, or in a sick driver's files."""
    return Hardware(
        processor=read_processor(tree),
        memory_bytes=read_memory_bytes(tree),
        container=read_container(tree),
        numa_nodes=read_numa_nodes(tree),
        disks=read_disks(tree, measure),
        interfaces=read_interfaces(tree),
        rdma=read_rdma(tree),
    )


def usable_cpu_milli(tree: Tree, allowed: int) -> int:
    """Thousandths of CPUs for use at once, of ``allowed`` that this process may run on: a quota may be less."""
    quota_milli = read_container(tree).cpu_milli
    whole = allowed * WHOLE_MILLI
    return whole if quota_milli is None else min(whole, quota_milli)


def usable_memory_bytes(tree: Tree) -> int:
    """The machine's memory, or what this process's cgroups leave of it."""
    total, limit = read_memory_bytes(tree), read_container(tree).memory_bytes
    return total if limit is None else min(total, limit)

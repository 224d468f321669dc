"""All but the accelerators, in one look.

Run as ``python -m ampacity.observe.discovery.machine [ROOT]`` it prints what it found as JSON: a look may hang on a
network's file system, or in a sick driver's files.
"""

from __future__ import annotations

import logging
import subprocess
import sys

from ampacity.model.codec import decode, encode
from ampacity.model.hardware import Hardware
from ampacity.model.resources import WHOLE_MILLI

from .container import read_container
from .disks import Measure, read_disks, room
from .network import read_interfaces, read_rdma
from .processor import read_memory_bytes, read_numa_nodes, read_processor
from .tree import Tree

LIMIT_S = 20.0
log = logging.getLogger(__name__)


def look_at_hardware(tree: Tree, *, limit_s: float = LIMIT_S) -> Hardware:
    """:func:`read_machine` in a process of its own. One that hangs or fails is logged, and told among the problems."""
    command = [sys.executable, "-m", __name__, tree.root]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        told, error = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()  # one that hangs in the kernel is not waited for
        problem = f"what this machine is made of cannot be read within {limit_s:g} s: a file system or driver hangs"
    else:
        if process.returncode == 0:
            return decode(told, Hardware)
        last = error.decode(errors="replace").strip().splitlines()[-1:]
        problem = "what this machine is made of cannot be read: " + "".join(last or [f"exit {process.returncode}"])
    log.error("%s", problem)
    return Hardware(problems=(problem,))


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


if __name__ == "__main__":
    sys.stdout.buffer.write(encode(read_machine(Tree(sys.argv[1]))))

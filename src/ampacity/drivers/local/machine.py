"""This machine as a node: what the operating system says it has."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from ampacity.drivers.supervisor.processes import boot_id
from ampacity.model.ids import NodeId
from ampacity.model.node import Node
from ampacity.observe.discovery.machine import usable_cpu_milli, usable_memory_bytes
from ampacity.observe.discovery.tree import Tree

GIB = 1 << 30


def this_machine(folder: Path, tree: Tree | None = None) -> Node:
    """The CPUs and the memory that this process's CPU set and cgroups leave to it, and the disk under ``folder``."""
    tree = tree or Tree()
    return Node(
        id=NodeId(socket.gethostname() or "local"),
        driver="local",
        cpu_milli=usable_cpu_milli(tree, len(os.sched_getaffinity(0))),
        memory_bytes=usable_memory_bytes(tree),
        disk_bytes=shutil.disk_usage(folder).free // GIB * GIB,
        boot_id=boot_id(),
    )

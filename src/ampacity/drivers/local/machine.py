"""This machine as a node: what the operating system says it has."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from ampacity.drivers.supervisor.processes import boot_id
from ampacity.model.ids import DeviceId, NodeId
from ampacity.model.node import Device, Health, Node
from ampacity.observe.discovery.accelerators import Accelerators
from ampacity.observe.discovery.machine import look_at_hardware, usable_cpu_milli, usable_memory_bytes
from ampacity.observe.discovery.tree import Tree

GIB = 1 << 30


def this_machine(folder: Path, there: Accelerators, tree: Tree | None = None) -> Node:
    """The CPUs and the memory that this process's CPU set and cgroups leave to it, the disk under ``folder``, and the
    accelerators that are there. One of which not even the kind is known is none."""
    tree = tree or Tree()
    name = socket.gethostname() or "local"
    return Node(
        id=NodeId(name),
        driver="local",
        cpu_milli=usable_cpu_milli(tree, len(os.sched_getaffinity(0))),
        memory_bytes=usable_memory_bytes(tree),
        disk_bytes=shutil.disk_usage(folder).free // GIB * GIB,
        boot_id=boot_id(),
        devices=tuple(
            Device(
                id=DeviceId(f"{name}/{found.index}"),
                index=found.index,
                kind=found.kind,
                memory_bytes=found.memory_bytes,
                health=Health.FAILED if found.trouble else Health.OK,
                trouble=found.trouble,
                vendor=found.vendor,
                uuid=found.uuid,
                bus=found.bus,
                pci_path=found.pci_path,
                numa_node=found.numa_node,
            )
            for found in there.devices
            if found.kind
        ),
        hardware=replace(look_at_hardware(tree), links=there.links),
    )

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


def this_machine(folder: Path, tree: Tree | None = None) -> Node:
    """The CPUs and the memory that this process's CPU set and cgroups leave to it, and the disk under ``folder``;
    without accelerators."""
    tree = tree or Tree()
    name = socket.gethostname() or "local"
    return Node(
        id=NodeId(name),
        driver="local",
        cpu_milli=usable_cpu_milli(tree, len(os.sched_getaffinity(0))),
        memory_bytes=usable_memory_bytes(tree),
        disk_bytes=shutil.disk_usage(folder).free // GIB * GIB,
        boot_id=boot_id(),
        hardware=look_at_hardware(tree),
    )


def with_devices(machine: Node, devices: tuple[Device, ...], there: Accelerators) -> Node:
    """The machine, as it is without devices, with these, their links, and what there is to say of others."""
    problems = (*machine.hardware.problems, *_idle(there))
    return replace(machine, devices=devices, hardware=replace(machine.hardware, links=there.links, problems=problems))


def devices_of(node: NodeId, there: Accelerators) -> tuple[Device, ...]:
    """They are numbered as they are counted now. One of which not even the kind is known is none."""
    return tuple(
        Device(
            id=DeviceId(f"{node}/{found.index}"),
            index=found.index,
            kind=found.kind,
            memory_bytes=found.memory_bytes,
            health=Health.FAILED if found.trouble else Health.OK,
            trouble=found.trouble,
            profile=found.profile,
            instance=found.instance,
            vendor=found.vendor,
            uuid=found.uuid,
            bus=found.bus,
            pci_path=found.pci_path,
            numa_node=found.numa_node,
        )
        for found in there.devices
        if found.kind
    )


def _idle(there: Accelerators) -> tuple[str, ...]:
    """Which devices are partitioned and have no instances, so that nothing of them is given out."""
    return tuple(
        f"{each.vendor} device {each.index} ({each.name}, {each.bus}) is in MIG mode and has no instances, so nothing "
        "of it is given out: make some (nvidia-smi mig -cgi ... -C), or switch MIG off"
        for each in there.partitioned
        if not each.instances
    )

"""The device files of accelerators, and which of them a member may not open."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator

from ampacity.model.node import Device
from ampacity.observe.devices.nvidia_files import FOR_ALL_INSTANCES, capabilities, driver_entries
from ampacity.observe.discovery.tree import Tree

CLASSES = ("/sys/class/drm", "/sys/class/accel", "/sys/class/habanalabs")
"""Where the kernel lists character devices of accelerators: ``/dev/dri/card0``, ``renderD128``, ``/dev/accel/accel0``
and ``accel_controlD0``, ``/dev/hl0`` of older drivers. ``/dev/kfd``, which all of AMD's share, gives no device away:
it asks whether the caller may open that device's ``renderD``."""


def denials(given: Collection[Device], known: Collection[Device], tree: Tree | None = None) -> list[str]:
    """Rules for the devices cgroup (``c 195:3 rwm``): every accelerator of this machine but the given ones.

    Args:
        known: all of the node's devices. Those that are only declared have no files of their own; of NVIDIA's they
            stand for those with the same numbers.
    """
    tree = tree or Tree()
    numbers = (*_nvidia(given, tree), *_of_instances(given, tree), *_of_classes(given, known, tree))
    return [f"c {number} rwm" for number in dict.fromkeys(numbers)]


def _nvidia(given: Collection[Device], tree: Tree) -> Iterator[str]:
    """The files need not be numbered as NVIDIA's tools count: those count by PCI address."""
    entries = driver_entries(tree)
    if any(entry.minor is None for entry in entries):
        return
    buses = {device.bus for device in given if device.bus}
    indices = {device.index for device in given if not device.bus}
    for index, entry in enumerate(entries):
        if entry.bus in buses or index in indices:
            continue
        try:
            found = os.stat(tree.path(f"/dev/nvidia{entry.minor}"))
        except OSError:
            continue
        if stat.S_ISCHR(found.st_mode):
            yield f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def _of_instances(given: Collection[Device], tree: Tree) -> Iterator[str]:
    """Of the partitioned devices whose own file is open to the member: what opens their other instances, those too that
    are made later, and what makes, destroys and watches instances. To open an instance takes the files of the
    capabilities of its GPU instance and of its compute instance."""
    instances = [device for device in given if device.instance]
    minors = {entry.bus: entry.minor for entry in driver_entries(tree)} if instances else {}
    open_to = set()
    for device in instances:
        gpu_instance, _, compute_instance = device.instance.partition("/")
        place = f"gpu{minors.get(device.bus)}/gi{gpu_instance}"
        open_to |= {f"{place}/access", f"{place}/ci{compute_instance}/access"}
    gpus = {place.partition("/")[0] for place in open_to}
    for capability in capabilities(tree) if instances else ():
        kind = capability.name.partition("/")[0]
        if capability.name not in open_to and (kind in gpus or kind in FOR_ALL_INSTANCES):
            yield capability.number


def _of_classes(given: Collection[Device], known: Collection[Device], tree: Tree) -> Iterator[str]:
    """By PCI address. What is no accelerator, such as the graphics of a processor, is not kept from anybody."""
    denied = {device.bus for device in known if device.bus} - {device.bus for device in given}
    if not denied:
        return
    for folder in CLASSES:
        for name in tree.names(folder):
            bus = tree.target(f"{folder}/{name}/device").rpartition("/")[2]
            number = tree.text(f"{folder}/{name}/dev") if bus in denied else ""
            if number:
                yield number

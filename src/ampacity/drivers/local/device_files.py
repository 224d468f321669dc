"""The device files of accelerators, and which of them a member may not open."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection

NVIDIA_GPUS = "/proc/driver/nvidia/gpus"
DEV = "/dev"
_MINOR = re.compile(r"^Device Minor:\s*(\d+)", re.MULTILINE)


def denials(given: Collection[int], *, gpus: str = NVIDIA_GPUS, dev: str = DEV) -> list[str]:
    """Rules for the devices cgroup (``c 195:3 rwm``): every accelerator of this machine but those with the given
    indices. Devices that are only declared have no files: nothing is denied then."""
    rules = []
    for index, minor in enumerate(_nvidia_minors(gpus)):
        if index in given:
            continue
        try:
            found = os.stat(os.path.join(dev, f"nvidia{minor}"))
        except OSError:
            continue
        if stat.S_ISCHR(found.st_mode):
            rules.append(f"c {os.major(found.st_rdev)}:{os.minor(found.st_rdev)} rwm")
    return rules


def _nvidia_minors(gpus: str) -> list[int]:
    """The number of each GPU's file, by the GPU's index: NVIDIA's tools count by PCI address, the files need not."""
    try:
        addresses = sorted(os.listdir(gpus))
    except OSError:
        return []
    minors = []
    for address in addresses:
        try:
            with open(os.path.join(gpus, address, "information")) as file:
                found = _MINOR.search(file.read())
        except OSError:
            return []
        if found is None:
            return []
        minors.append(int(found[1]))
    return minors

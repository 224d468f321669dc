"""This machine as a node: what the operating system says it has."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psutil

from ampacity.drivers.supervisor.processes import boot_id
from ampacity.model.ids import NodeId
from ampacity.model.node import Node
from ampacity.model.resources import WHOLE_MILLI

GIB = 1 << 30
_NO_LIMIT_BYTES = 1 << 60


def this_machine(folder: Path) -> Node:
    """The CPUs that this process may use, the memory that its cgroup lets it have, and the disk under ``folder``."""
    return Node(
        id=NodeId(socket.gethostname() or "local"),
        driver="local",
        cpu_milli=len(os.sched_getaffinity(0)) * WHOLE_MILLI,
        memory_bytes=min(psutil.virtual_memory().total, _cgroup_memory_bytes()),
        disk_bytes=shutil.disk_usage(folder).free // GIB * GIB,
        boot_id=boot_id(),
    )


def _cgroup_memory_bytes() -> int:
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _NO_LIMIT_BYTES:
            return int(text)
    return _NO_LIMIT_BYTES

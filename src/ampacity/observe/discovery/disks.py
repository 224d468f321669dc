"""Mounted file systems with room for files, and what they lie on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from ampacity.model.hardware import Disk, DiskKind

from .tree import Tree

NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gpfs", "lustre", "nfs"}
    | {"nfs4", "orangefs", "smb3", "wekafs"}
)
LOCAL = frozenset({"apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs", "zfs"})
ROOM_IN_MEMORY = ("/dev/shm",)
"""Other file systems in memory hold the system's own small files."""

VIRTUAL = ("vd", "xvd", "nbd", "rbd", "loop")
"""What a disk of a virtual machine says of its own turning means nothing."""

Measure = Callable[[str], tuple[int, int]]


def room(path: str) -> tuple[int, int]:
    """Bytes in all, and those that this user may still fill. Raises ``OSError``."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def read_disks(tree: Tree, measure: Measure = room) -> tuple[Disk, ...]:
    """One for each source, at its shortest mount point. A network's may hang: look with a time limit."""
    found: dict[str, Disk] = {}
    for line in tree.text("/proc/self/mounts").splitlines():
        fields = [_unescaped(field) for field in line.split(" ")]
        if len(fields) < 3:
            continue
        source, mount, filesystem = fields[:3]
        if not _holds_files(mount, filesystem):
            continue
        try:
            size_bytes, free_bytes = measure(mount)
        except OSError:
            continue  # stale, or not for this user: no place for files of a job
        key = source if source.startswith("/") or filesystem in NETWORK else mount
        if not size_bytes or (key in found and len(found[key].mount) <= len(mount)):
            continue
        found[key] = Disk(
            mount=mount,
            source=source,
            filesystem=filesystem,
            kind=_kind(tree, source, filesystem),
            size_bytes=size_bytes,
            free_bytes=free_bytes,
        )
    return tuple(sorted(found.values(), key=lambda disk: disk.mount))


def _holds_files(mount: str, filesystem: str) -> bool:
    if filesystem == "tmpfs":
        return mount in ROOM_IN_MEMORY
    return filesystem in LOCAL or filesystem in NETWORK


def _kind(tree: Tree, source: str, filesystem: str) -> DiskKind:
    if filesystem == "tmpfs":
        return DiskKind.MEMORY
    if filesystem in NETWORK:
        return DiskKind.NETWORK
    name = _block_name(tree, source)
    if name.startswith("nvme"):
        return DiskKind.NVME
    if name.startswith(VIRTUAL):
        return DiskKind.OTHER
    match tree.text(f"/sys/class/block/{name}/queue/rotational") if name else "":
        case "0":
            return DiskKind.SSD
        case "1":
            return DiskKind.HDD
        case _:
            return DiskKind.OTHER


def _block_name(tree: Tree, source: str) -> str:
    """The whole disk beneath a partition, a RAID or a logical volume: the first, where there are several."""
    if not source.startswith("/dev/"):
        return ""
    name = os.path.basename(os.path.realpath(source)) if source.startswith("/dev/mapper/") else source[5:]
    for _ in range(8):
        below = tree.names(f"/sys/class/block/{name}/slaves")
        if below:
            name = below[0]
        elif tree.exists(f"/sys/class/block/{name}/partition"):
            name = os.path.basename(os.path.dirname(tree.target(f"/sys/class/block/{name}")))
        else:
            return name
    return name


def _unescaped(field: str) -> str:
    r"""The kernel writes a blank as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)

"""What kind of file system a path lies on."""

from __future__ import annotations

import os
from pathlib import Path

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.s3fs", "lustre"})
"""By the names that Linux gives them in mountinfo. SQLite's write-ahead log needs memory that all who use the file
share, and locks that hold: neither is to be had over a network (sqlite.org/wal.html, sqlite.org/howtocorrupt.html)."""


def network_filesystem(path: str, *, mountinfo: str = "/proc/self/mountinfo") -> str | None:
    """The network file system that the path lies on, by name, if it is one; ``None`` also where it cannot be told."""
    try:
        lines = Path(mountinfo).read_text(errors="replace").splitlines()
    except OSError:
        return None
    wanted = os.path.realpath(path)
    best, kind = "", ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        mounted_at = fields.split()[4].encode().decode("unicode_escape")
        inside = wanted == mounted_at or wanted.startswith(mounted_at.rstrip("/") + "/")
        if inside and len(mounted_at) >= len(best):
            best, kind = mounted_at, rest.split()[0]
    return kind if kind in NETWORK else None

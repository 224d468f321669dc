"""Volumes of a member: folders of the node that its processes, and they alone, find at other paths.

Each process that the supervisor starts gets a mount namespace of its own (mount_namespaces(7)), in which the folders
are bound to their targets; it is gone with the last who is in it. Who is not root gets a user namespace as well
(user_namespaces(7)), in which he is who he was. A target that does not exist is made, and stays.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _SLAVE = 1, 32, 4096, 16384, 1 << 19
_KEPT = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
"""What a mount keeps when it becomes read only: options of /proc/self/mountinfo, with their numbers for mount(2)."""


class Mounts:
    """Of one member, as ``member.json`` has them: ``{source, target, read_only}`` each, outer targets first."""

    __slots__ = ("_sources", "asked")

    def __init__(self, member: Mapping[str, Any]) -> None:
        mounts = member.get("mounts") or ()
        self.asked = [each for each in mounts if each["source"] != each["target"] or each["read_only"]]
        self._sources: list[int] = []

    def enter(self) -> None:
        """Give the calling process mounts of its own. What the node mounts later is seen there, not the other way
        round. Raises ``OSError``."""
        _unshare()
        _call("mount", b"none", b"/", None, _RECURSIVE | _SLAVE, None)
        # Opened before anything is mounted: one mount may hide where another one comes from.
        self._sources = [os.open(each["source"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for each in self.asked]

    def bind(self, index: int) -> None:
        """Have one of them found at its target. Raises ``OSError``."""
        target, source = self.asked[index]["target"], f"/proc/self/fd/{self._sources[index]}"
        os.makedirs(target, exist_ok=True)
        _call("mount", source.encode(), os.fsencode(target), None, _BIND | _RECURSIVE, None)
        if self.asked[index]["read_only"]:
            for point, kept in _mounted_below(os.path.realpath(target)):
                _call("mount", b"none", os.fsencode(point), None, _REMOUNT | _BIND | _READ_ONLY | kept, None)


def missing(member: Mapping[str, Any]) -> str:
    """Which of a member's folders is not there, in words; empty = all are."""
    for each in member.get("mounts") or ():
        if not os.path.isdir(each["source"]):
            what = "is not a folder" if os.path.exists(each["source"]) else "does not exist on this node"
            return f"the folder {each['source']}, which it mounts at {each['target']}, {what}"
    return ""


def join(pid: int) -> None:
    """Have the calling process see what that one sees. Raises ``OSError``."""
    kinds = [("user", _NEW_USERS), ("mnt", _NEW_MOUNTS)]
    others = [kind for kind in kinds if _namespace(str(pid), kind[0]) != _namespace("self", kind[0])]
    fds = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), flag) for name, flag in others]
    for fd, flag in fds:
        _call("setns", fd, flag)
        os.close(fd)


def _namespace(process: str, kind: str) -> str:
    return os.readlink(f"/proc/{process}/ns/{kind}")


def _unshare() -> None:
    try:
        return _call("unshare", _NEW_MOUNTS)
    except PermissionError:
        uid, gid = os.getuid(), os.getgid()
        _call("unshare", _NEW_USERS | _NEW_MOUNTS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _mounted_below(folder: str) -> Iterator[tuple[str, int]]:
    """What is mounted there and further down, with the flags that have to be kept."""
    with open("/proc/self/mountinfo", "rb") as file:
        lines = [line.split(b" ") for line in file]
    for parts in lines:
        point = os.fsdecode(_unescaped(parts[4]))
        if f"{point}/".startswith(f"{folder}/"):
            yield point, sum(_KEPT.get(option, 0) for option in parts[5].decode().split(","))


def _unescaped(text: bytes) -> bytes:
    """Blanks and backslashes are written there as three octal digits."""
    first, *rest = text.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _call(name: str, *arguments: Any) -> None:
    """A function of the C library that answers 0, or fails. Raises ``OSError``."""
    import ctypes

    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

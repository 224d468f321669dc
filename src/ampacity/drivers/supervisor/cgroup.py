"""One member's cgroup: made before its first process, asked for its processes and its kills, removed at its end."""

from __future__ import annotations

import errno
import os
import signal
import time

from . import device_filter
from .cgroup_place import TREE
from .processes import send
from .small_files import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

PERIOD_US = 100_000
LEAST_QUOTA_US = 1_000
SHARES_PER_CPU = 1024
WEIGHT_PER_CPU = 100
REMOVE_TIMEOUT_S = 2.0
_AGAIN_S = 0.002


class Cgroup:
    """A folder per controller (v1), or one for all (v2).

    Args:
        folders: ``{controller: (version, folder)}``, as ``member.json`` has it.
    """

    __slots__ = ("_folders",)

    def __init__(self, folders: Mapping[str, Iterable[Any]]) -> None:
        self._folders: dict[str, tuple[int, str]] = {}
        for kind, (version, folder) in folders.items():
            self._folders[kind] = (int(version), str(folder))

    def __bool__(self) -> bool:
        return bool(self._folders)

    def has(self, controller: str) -> bool:
        return controller in self._folders

    def paths(self) -> list[str]:
        """Each folder once."""
        return list(dict.fromkeys(folder for _, folder in self._folders.values()))

    def make(self, limits: Mapping[str, Any]) -> None:
        """Make it, with its limits. Raises ``OSError``."""
        for path in self.paths():
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                continue
        for kind, name, text in self._settings(limits):
            _write(self._folders[kind][1], name, text)
        denied = limits.get("devices_denied")
        if denied and "devices" in self._folders and self._folders["devices"][0] == 2:
            device_filter.attach(self._folders["devices"][1], denied)

    @property
    def tree(self) -> str:
        """The folder in v2's tree; empty = there is none."""
        return self._folders[TREE][1] if TREE in self._folders else ""

    def enter(self, *, born_in_tree: bool = False) -> None:
        """Move the calling process, which has one thread, into it. Raises ``OSError``.

        Of v1 only ``tasks`` is quick: a thread that moves itself need not wait for the whole machine.
        """
        entered = set()
        for version, path in self._folders.values():
            if path in entered or (version == 2 and born_in_tree):
                continue
            entered.add(path)
            _write(path, "tasks" if version == 1 else "cgroup.procs", "0")

    def pids(self) -> set[int]:
        """Its processes, of whatever session, parent and environment."""
        found: set[int] = set()
        for path in self.paths():
            found.update(int(word) for word in _read(path, "cgroup.procs").split() if word.isdigit())
            if TREE in self._folders:
                break
        return found

    def kill(self) -> None:
        """SIGKILL to all of it. With v2 (Linux 5.14) in one step that no fork escapes; else to each that is seen."""
        if TREE in self._folders:
            try:
                _write(self.tree, "cgroup.kill", "1")
                return
            except OSError:
                pass
        send(self.pids(), signal.SIGKILL)

    def memory_kills(self) -> int:
        """How often the kernel killed in it for want of memory."""
        if "memory" not in self._folders:
            return 0
        version, path = self._folders["memory"]
        return _count(_read(path, "memory.events" if version == 2 else "memory.oom_control"), "oom_kill")

    def memory_peak_bytes(self) -> int | None:
        """The most that it used at once; ``None`` where the kernel does not say."""
        if "memory" not in self._folders:
            return None
        version, path = self._folders["memory"]
        text = _read(path, "memory.peak" if version == 2 else "memory.max_usage_in_bytes").strip()
        return int(text) if text.isdigit() else None

    def remove(self) -> bool:
        """Remove it, with the cgroups that its processes made below. ``False``: processes are left in it."""
        deadline = time.monotonic() + REMOVE_TIMEOUT_S
        removed = [_remove(path, deadline) for path in self.paths()]
        return all(removed)

    def _settings(self, limits: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Controller, file and content, in the order in which they are written."""
        settings: list[tuple[str, str, str]] = []
        if "cpu" in self._folders:
            settings += _cpu(self._folders["cpu"][0], limits.get("cpu_share_milli"), limits.get("cpu_milli"))
        if "memory" in self._folders and limits.get("memory_bytes"):
            settings += _memory(*self._folders["memory"], limits["memory_bytes"])
        if "pids" in self._folders and limits.get("processes"):
            settings.append(("pids", "pids.max", str(limits["processes"])))
        if "devices" in self._folders and self._folders["devices"][0] == 1:
            settings += [("devices", "devices.deny", rule) for rule in limits.get("devices_denied") or ()]
        return settings


def _cpu(version: int, share_milli: int | None, limit_milli: int | None) -> list[tuple[str, str, str]]:
    settings = []
    if share_milli:
        weight = min(10_000, max(1, share_milli * WEIGHT_PER_CPU // 1000))
        shares = max(2, share_milli * SHARES_PER_CPU // 1000)
        settings.append(("cpu", "cpu.weight", str(weight)) if version == 2 else ("cpu", "cpu.shares", str(shares)))
    if limit_milli:
        quota_us = max(LEAST_QUOTA_US, limit_milli * PERIOD_US // 1000)
        if version == 2:
            settings.append(("cpu", "cpu.max", f"{quota_us} {PERIOD_US}"))
        else:
            settings.append(("cpu", "cpu.cfs_period_us", str(PERIOD_US)))
            settings.append(("cpu", "cpu.cfs_quota_us", str(quota_us)))
    return settings


def _memory(version: int, path: str, limit_bytes: int) -> list[tuple[str, str, str]]:
    """Swap is no way around the limit, where the kernel counts it."""
    if version == 2:
        swap = [("memory", "memory.swap.max", "0")] if os.path.exists(os.path.join(path, "memory.swap.max")) else []
        return [("memory", "memory.max", str(limit_bytes)), *swap]
    swap_name = "memory.memsw.limit_in_bytes"
    swap = [("memory", swap_name, str(limit_bytes))] if os.path.exists(os.path.join(path, swap_name)) else []
    return [("memory", "memory.limit_in_bytes", str(limit_bytes)), *swap]


def _remove(path: str, deadline: float) -> bool:
    """Deepest first. A process that has just ended keeps its cgroup for a moment."""
    for folder, below, _ in os.walk(path, topdown=False):
        while True:
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    return False
                if not below and _read(folder, "cgroup.procs").strip():
                    return False
            time.sleep(_AGAIN_S)
    return True


def _write(folder: str, name: str, text: str) -> None:
    """In one write: the kernel takes each as a whole order."""
    fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(folder: str, name: str) -> str:
    return read_text(os.path.join(folder, name))


def _count(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0

"""Which members run on this machine now: learnt from what supervisors write (docs/architecture.md, format 1)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAGE_BYTES = 1 << 20
WHOLE_MILLI = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """A part of a device that a member holds. ``device``: its name for good where it has one, else its id. ``share``: 1
    is the whole of it."""

    device: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMember:
    """``name`` is ``<attempt>-<member>``; ``supervisor`` the pid of the process that holds it. ``ranks``: how many of a
    training gang's ranks run in it, 0 when it is none. ``devices`` are in the order in which its processes see them.
    ``labels`` say whose it is."""

    name: str
    supervisor: int
    ranks: int
    devices: tuple[DeviceUse, ...]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What changed since the last look: members that run now, names of those that ended."""

    begun: tuple[RunningMember, ...] = ()
    ended: tuple[str, ...] = ()


class MemberFeed:
    """Follows ``facts.jsonl``, so that a look costs nothing while nothing happens; the members' folder is listed only
    at the beginning, and when the file was replaced."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._facts = os.path.join(folder, "facts.jsonl")
        self._fd = -1
        self._offset = 0
        self._running: set[str] = set()
        self._boot_id = _read("/proc/sys/kernel/random/boot_id").decode().strip()

    def look(self) -> Turns:
        if self._is_another():
            return self._look_at_all()
        began, ended = self._read_on()
        gone = tuple(name for name in ended if name in self._running)
        begun = [self._running_member(name) for name in began if name not in ended and name not in self._running]
        return self._turn([member for member in begun if member is not None], gone)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _turn(self, begun: list[RunningMember], ended: tuple[str, ...]) -> Turns:
        self._running.difference_update(ended)
        self._running.update(member.name for member in begun)
        return Turns(begun=tuple(begun), ended=ended)

    def _is_another(self) -> bool:
        """Whether the file is none that was followed so far."""
        try:
            now = os.stat(self._facts)
        except FileNotFoundError:
            return False
        return self._fd < 0 or now.st_ino != os.fstat(self._fd).st_ino or now.st_size < self._offset

    def _look_at_all(self) -> Turns:
        """The end of the file is taken before the folders are listed: what happens meanwhile is read again later."""
        self.close()
        self._fd = os.open(self._facts, os.O_RDONLY | os.O_CLOEXEC)
        self._offset = os.fstat(self._fd).st_size
        try:
            names = os.listdir(os.path.join(self._folder, "members"))
        except FileNotFoundError:
            names = []
        found = [member for name in names if (member := self._running_member(name)) is not None]
        alive = {member.name for member in found}
        gone = tuple(name for name in self._running if name not in alive)
        return self._turn([member for member in found if member.name not in self._running], gone)

    def _read_on(self) -> tuple[list[str], set[str]]:
        """Names of members that began, and that ended, in the lines that are new."""
        began: list[str] = []
        ended: set[str] = set()
        while self._fd >= 0 and (data := os.pread(self._fd, PAGE_BYTES, self._offset)):
            whole = data.rfind(b"\n") + 1
            if not whole:
                break
            self._offset += whole
            for line in data[:whole].split(b"\n"):
                if b'"member_started"' in line or b'"member_preparing"' in line:
                    began.extend(_named(line))
                elif b'"member_exited"' in line:
                    ended.update(_named(line))
        return list(dict.fromkeys(began)), ended

    def _running_member(self, name: str) -> RunningMember | None:
        """The member, when its supervisor lives."""
        folder = os.path.join(self._folder, "members", name)
        if os.path.exists(os.path.join(folder, "exit.json")):
            return None
        state, member = _read_json(os.path.join(folder, "state.json")), _read_json(os.path.join(folder, "member.json"))
        if state.get("boot_id") != self._boot_id or "attempt" not in member:
            return None
        pid = int(state["pid"])
        if _start_ticks(pid) != state.get("pid_start"):
            return None
        return RunningMember(
            name=name,
            supervisor=pid,
            ranks=int(_read_json(os.path.join(folder, "agent.json")).get("ranks_per_node", 0)),
            devices=_devices(member.get("devices", ())),
            labels=_labels(member),
        )


def _devices(given: Any) -> tuple[DeviceUse, ...]:
    ordered = sorted(given, key=lambda use: (len(use["device"]), use["device"]))
    return tuple(
        DeviceUse(device=str(use.get("uuid") or use["device"]), share=use["milli"] / WHOLE_MILLI) for use in ordered
    )


def _labels(member: Mapping[str, Any]) -> dict[str, str]:
    env = member.get("env")
    given = env if isinstance(env, Mapping) else {}
    named = {"workload": "AMPACITY_WORKLOAD", "name": "AMPACITY_WORKLOAD_NAME", "project": "AMPACITY_PROJECT"}
    labels = {label: str(given.get(variable, "")) for label, variable in named.items()}
    return {**labels, **{key: str(member[key]) for key in ("attempt", "member", "epoch")}}


def _named(line: bytes) -> tuple[str, ...]:
    """The member that a fact is about; none when the line is torn."""
    try:
        key = json.loads(line)["key"]
        return (f"{key['attempt']}-{key['member']}",)
    except (ValueError, KeyError, TypeError):
        return ()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _read_json(path: str) -> dict[str, Any]:
    try:
        found = json.loads(_read(path) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _start_ticks(pid: int) -> int | None:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in (b"Z", b"X") else None

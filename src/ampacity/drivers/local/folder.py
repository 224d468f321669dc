"""One member's folder: what the driver writes into it and reads from it (format 1)."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from ampacity.drivers.base import Launch
from ampacity.drivers.supervisor.cgroup import Cgroup
from ampacity.drivers.supervisor.disk import FORMAT, read_json, reserve, trim, write_json
from ampacity.drivers.supervisor.processes import boot_id
from ampacity.model.attempt import Cause, CauseKind, MemberExited
from ampacity.model.codec import from_plain, to_plain
from ampacity.model.errors import LaunchFailed, NotFound
from ampacity.model.ids import MemberKey

_OURS = frozenset(
    {
        *("member.json", "state.json", "exit.json", "stop.json", "cause.json", "output.log"),
        *("lock", "progress", "work", "secrets"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorState:
    """Who holds the member: a process named for good by pid, start and boot."""

    pid: int
    pid_start: int
    boot_id: str
    child_pid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOnDisk:
    """What others than its supervisor need to know of a member's launch. Empty ``workdir``: a folder of its own."""

    workdir: str


class MemberFolder:
    """Reading is safe at any time: files are written whole and renamed."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def has(self, name: str) -> bool:
        return os.path.exists(self.file(name))

    def make(self) -> None:
        os.makedirs(self.path, mode=0o700, exist_ok=True)

    def write_launch(
        self,
        launch: Launch,
        *,
        env: Mapping[str, str],
        address: str,
        facts: str,
        extra: Mapping[str, Any] | None = None,
        device_uuids: Mapping[str, str] | None = None,
    ) -> None:
        """The launch's files, then ``member.json``, which makes it whole. Its supervisor makes that durable, before the
        first process of the job. Raises ``LaunchFailed``, ``OSError``."""
        self.make()
        for name, text in launch.files.items():
            self._write_file(name, text)
        write_json(
            self.file("member.json"),
            {
                "format": FORMAT,
                "boot_id": boot_id(),
                **to_plain(launch.key),
                "argv": list(launch.argv),
                "env": dict(env),
                "workdir": launch.workdir,
                "setup": launch.setup,
                "port": launch.port,
                "address": address,
                "grace_s": launch.grace_s,
                "max_duration_s": launch.max_duration_s,
                "facts": facts,
                "devices": [
                    {**to_plain(share), "uuid": (device_uuids or {}).get(share.device, "")}
                    for share in launch.allocation.devices
                ],
                **(extra or {}),
            },
            durable=False,
        )

    def write_stop(self, key: MemberKey, *, grace_s: float, reason: str) -> None:
        stop = {"format": FORMAT, **to_plain(key), "reason": reason, "grace_s": grace_s}
        if read_json(self.file("stop.json")) != stop:
            write_json(self.file("stop.json"), stop, durable=False)

    def write_exit(self, at: float, cause: Cause) -> None:
        """Only under the lock, and only when there is none yet."""
        path = self.file("exit.json")
        write_json(path, {"format": FORMAT, "at": at, "cause": to_plain(cause)}, scratch=reserve(path))
        trim(path)

    def key(self) -> MemberKey | None:
        """Whose folder it is; ``None`` when nobody came so far as to write it down."""
        for name in ("member.json", "stop.json"):
            found = read_json(self.file(name))
            if found is not None and found.get("format") == FORMAT:
                return from_plain({name: found[name] for name in ("attempt", "member", "epoch")}, MemberKey)
        return None

    def is_of_another_boot(self) -> bool:
        """Whether it was launched before the machine was restarted: then it may have run, though nothing says so.
        (Of what a supervisor writes only ``exit.json`` survives a loss of power for sure.)"""
        found = read_json(self.file("member.json"))
        return found is not None and found.get("boot_id", boot_id()) != boot_id()

    def cgroup(self) -> Cgroup:
        """The member's, as it was launched with; empty where it was given none."""
        found = read_json(self.file("member.json")) or {}
        return Cgroup(found.get("cgroups") or {})

    def state(self) -> SupervisorState | None:
        """``None`` when it is absent, and when a crash of the machine left it unreadable."""
        found = read_json(self.file("state.json"))
        if found is None:
            return None
        try:
            return from_plain({name: found.get(name) for name in SupervisorState.__dataclass_fields__}, SupervisorState)
        except msgspec.ValidationError:
            return None

    def launch(self) -> LaunchOnDisk | None:
        """What it was started as; ``None`` when it never was."""
        found = read_json(self.file("member.json"))
        return None if found is None else from_plain({"workdir": found.get("workdir", "")}, LaunchOnDisk)

    def stop(self) -> dict[str, Any] | None:
        return read_json(self.file("stop.json"))

    def exit(self, key: MemberKey) -> MemberExited | None:
        """The member's end, if it is written. A file that cannot be read still says that it has ended."""
        try:
            written_at = os.stat(self.file("exit.json")).st_mtime
        except FileNotFoundError:
            return None
        found = read_json(self.file("exit.json")) or {}
        try:
            return MemberExited(
                key=key, at=from_plain(found.get("at"), float), cause=from_plain(found.get("cause"), Cause)
            )
        except msgspec.ValidationError as error:
            cause = Cause(kind=CauseKind.SUPERVISOR_DIED, message=f"it ended, but exit.json cannot be read: {error}")
            return MemberExited(key=key, at=written_at, cause=cause)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Try to take the member's lock; ``False`` when a supervisor has it, or the folder is gone."""
        try:
            fd = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            yield False
            return
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def read_file(self, path: str, *, offset: int, limit: int) -> bytes:
        """Bytes of a file below this folder. Links are not followed. Raises ``NotFound``."""
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in path:
            raise NotFound(f"{path!r} is not a path inside the member's folder")
        fd = -1
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for part in parts:
                above, fd = fd, os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
                os.close(above)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise NotFound(f"{path!r} is not a file")
            return os.pread(fd, limit, offset)
        except OSError as error:
            raise NotFound(f"no file {path!r} in the member's folder: {error.strerror}") from error
        finally:
            if fd >= 0:
                os.close(fd)

    def remove(self, *, by_way_of: str) -> None:
        """Move it there, then delete it: a folder half deleted must not look like a member that never began."""
        gone = os.path.join(by_way_of, f"{os.path.basename(self.path)}.{os.urandom(6).hex()}")
        os.rename(self.path, gone)
        shutil.rmtree(gone)

    def _write_file(self, name: str, text: str) -> None:
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or parts[0] in _OURS or "\0" in name:
            raise LaunchFailed(
                f"the file name {name!r} cannot be used in a member's folder",
                hint="Use a relative path that is none of the supervisor's own names.",
            )
        path = self.file(name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)

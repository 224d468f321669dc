"""The Protocol of a driver: a place where attempts run.

All calls are idempotent (look first, then act) and may be repeated after any crash. ``DriverUnavailable`` means "not
known now"; nobody reads it as a failure of the workload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ampacity.model.attempt import MemberFact
from ampacity.model.ids import MemberKey, NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a member may use; ``None`` = as much as there is. (What it is promised is its allocation.)

    CPU in thousandths; ``disk_bytes`` is what its private folder may hold; ``processes`` counts threads too.
    ``log_bytes``: of a longer log the oldest part is dropped; ``None`` = 256 MB.
    """

    cpu_milli: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    processes: int | None = None
    log_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder of the node that the member's processes find at ``target``, as well or instead; both absolute."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All that a driver needs to start one member.

    ``argv`` is run in ``workdir`` (absolute; empty = a private folder) with ``env`` added to the node's own
    environment. ``setup`` is a shell script run before it. ``files`` are written into the member's private folder
    first; ``argv`` and ``env`` may name that folder as ``{member_dir}``, and ``argv`` the port as ``{port}``.
    ``secret_envs`` (variables) and ``secret_files`` (``NAME_FILE`` says the path of each) reach the processes without
    being written to a disk, as far as the place allows it. ``mounts``: outer targets before inner ones.
    ``port``: ``None`` = none, 0 = a free one: the process finds it as ``PORT``, the fact ``MemberStarted`` says it.
    """

    key: MemberKey
    node: NodeId
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    secret_envs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    secret_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    workdir: str = ""
    setup: str = ""
    mounts: tuple[Mount, ...] = ()
    allocation: Allocation
    limits: Limits = Limits()
    port: int | None = None
    grace_s: float = 10.0
    max_duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """What a driver answers to a start. ``ref`` is its own name for it, for people (a path, a job id)."""

    key: MemberKey
    node: NodeId
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this driver can do beyond starting, stopping and reporting. ``places_itself``: its pools decide on which of
    their nodes a member runs; ``MemberStarted`` says it."""

    signal: bool = False
    logs: bool = False
    files: bool = False
    exec: bool = False
    mounts: bool = False
    places_itself: bool = False
    resize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FactPage:
    """Facts in the order in which they happened. Reading again from the same cursor gives the same facts."""

    facts: tuple[MemberFact, ...]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """``rank`` -1 = not a rank's (setup, agent, supervisor). ``stream``: ``out``, ``err`` or ``sys``."""

    at: float
    rank: int
    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """``ended``: the member has exited and no line will follow."""

    lines: tuple[LogLine, ...]
    cursor: str
    ended: bool


class FileKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file or folder of a member. ``mode``: its permissions; ``version`` changes when its content does."""

    name: str
    kind: FileKind
    size_bytes: int
    modified_at: float
    mode: int
    version: str


class MemberFiles(Protocol):
    """The files of one member. Paths are relative to its working directory, or begin with ``{member_dir}/``; none
    leads out of the two, by links neither. All raise ``NotFound`` and ``Forbidden``."""

    def entry(self, path: str) -> FileEntry: ...

    def entries(self, path: str, *, limit: int, after: str = "") -> tuple[FileEntry, ...]:
        """What is in a folder, by name, after that name."""
        ...

    def read(self, path: str, *, offset: int, limit: int, version: str = "") -> bytes:
        """Bytes of a file; empty at its end. Raises ``Conflict`` when it is not of that version any more."""
        ...

    def write(self, path: str, data: bytes, *, offset: int, size: int, mode: int) -> int:
        """A part of a file of that size; answers how much of it is there. The file is there when all of it is.

        Raises:
            Conflict: what comes before the offset is not there; a folder has the name; the disk is full.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSize:
    """In characters."""

    columns: int = 80
    rows: int = 24


class Exec(Protocol):
    """A command inside a running member. The descriptors do not block and are its own; -1 = there is none.

    ``exit_fd`` is readable once the command has ended, ``ended_fd`` once the member has. On a terminal ``stdin`` and
    ``stdout`` are the same, and ``stderr`` is -1.
    """

    stdin: int
    stdout: int
    stderr: int
    exit_fd: int
    ended_fd: int

    def resize(self, size: TerminalSize) -> None: ...

    def end_input(self) -> None:
        """Nothing more will be typed."""
        ...

    def exit_code(self) -> int:
        """Wait for its end: its own code, or 128 + the signal that ended it."""
        ...

    def close(self) -> None:
        """End what is left of it, in the background too, and let go of the descriptors."""
        ...


class Driver(Protocol):
    name: str

    def capabilities(self) -> Capabilities: ...

    def nodes(self) -> tuple[Node, ...]:
        """The nodes that answer now. One that was known and is absent here is silent."""
        ...

    def ensure_started(self, launch: Launch) -> Handle:
        """Start the member unless it was started before. Raises ``LaunchFailed``, ``DriverUnavailable``."""
        ...

    def ensure_stopped(self, key: MemberKey, *, grace_s: float, reason: str) -> None:
        """Ask it to end: SIGTERM, then SIGKILL after ``grace_s``. Returns at once; the fact says when it has ended.
        A member that was never started here is fenced: a later ``ensure_started`` of it does not start it, and a
        ``MemberExited`` with the cause ``stopped`` is reported."""
        ...

    def facts(self, cursor: str | None, *, limit: int = 1000) -> FactPage:
        """What happened since the cursor (``None`` = from the beginning)."""
        ...

    def on_wake(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` (from any thread) when there may be new facts."""
        ...

    def signal(self, key: MemberKey, signum: int) -> None: ...

    def logs(self, key: MemberKey, cursor: str | None, *, limit: int = 1000) -> LogPage: ...

    def files(self, key: MemberKey, path: str, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """Bytes of a file in the member's private folder; empty at its end. Raises ``NotFound``."""
        ...

    def member_files(self, key: MemberKey) -> MemberFiles:
        """The member's files, while it runs and until it is forgotten. Raises ``NotFound``, ``Unsupported``."""
        ...

    def exec(self, key: MemberKey, argv: tuple[str, ...], *, terminal: TerminalSize | None = None) -> Exec:
        """Start a command inside the member: its environment, working directory and limits; on a terminal of that
        size, or with pipes. Raises ``NotFound``, ``Conflict`` (it does not run), ``Unsupported``."""
        ...

    def resize(self, key: MemberKey, allocation: Allocation) -> None: ...

    def forget(self, key: MemberKey) -> None:
        """Remove what is kept of a member that has exited (logs included)."""
        ...

    def close(self) -> None:
        """Let go of threads and sockets. What runs, runs on."""
        ...

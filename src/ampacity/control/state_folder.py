"""The state folder: who holds it, what it was told, and how the one that holds it is reached."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ampacity.model.errors import PortInUse, StateFolderBusy, UserError

SOCKET_PATH_LIMIT = 100
"""A Unix socket's path holds 107 bytes; some are kept back for temporary names."""

DEFAULT_PORT = 7410
DEFAULT_GATEWAY_PORT = 7411


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``up`` was told. Ports: ``None`` = the usual one or else a free one, 0 = a free one.

    ``gateway_workers``: processes that share the gateway's port. ``gateway_tls``: HOST:PORT where it has TLS as
    well, with the certificate and key in these files; empty = nowhere. ``store``: the address of a PostgreSQL store;
    empty = the folder's own SQLite file. ``keep_finished_s``: how long workloads are kept that have ended, with their
    logs; ``keep_events_s``: how long single events are.
    """

    nodes: tuple[str, ...] = ()
    port: int | None = None
    gateway_port: int | None = None
    gateway_workers: int = 1
    gateway_tls: str = ""
    gateway_cert: str = ""
    gateway_key: str = ""
    node_lost_after_s: float = 60.0
    store: str = ""
    keep_finished_s: float = 30 * 86400.0
    keep_events_s: float = 7 * 86400.0


class StateFolder:
    """Paths in the folder, and its lock. Made with mode 0700 if absent.

    Raises:
        UserError: the folder cannot be made or used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: int | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (OSError, ValueError) as error:
            raise UserError(f"The state folder {self.path} cannot be used: {error}.") from error
        if self.path.stat().st_uid != os.geteuid() and os.geteuid() != 0:
            hint = "Use a folder of your own: --state, or AMPACITY_HOME."
            raise UserError(f"The state folder {self.path} belongs to another user.", hint=hint)
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise UserError(f"The state folder {self.path} is not writable for this user.")

    def file(self, name: str) -> Path:
        return self.path / name

    # The lock ------------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Take the lock for this process. Raises ``StateFolderBusy``, which names the holder."""
        handle = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "another process"
            os.close(handle)
            hint = "`ampacity status` shows it; `ampacity down` ends it."
            raise StateFolderBusy(f"A control plane (process {holder}) holds {self.path}.", hint=hint) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._lock = handle

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Settings, token, endpoint -------------------------------------------------------------------------------------

    def read_settings(self) -> Settings:
        """What was told last; the defaults when nothing was. Raises ``UserError`` for a broken file."""
        path = self.file("settings.json")
        if not path.exists():
            return Settings()
        try:
            return msgspec.json.decode(path.read_bytes(), type=Settings)
        except msgspec.DecodeError as error:
            raise UserError(f"{path} cannot be read: {error}.", hint="Mend or remove it.") from error

    def write_settings(self, settings: Settings) -> None:
        write_atomically(self.file("settings.json"), msgspec.json.encode(settings) + b"\n")

    def token_sha256(self, name: str = "token") -> str:
        """The digest of the loopback token, or of another one's file. It is made at the first start."""
        path = self.file(name)
        if not path.exists():
            write_atomically(path, secrets.token_urlsafe(32).encode())
        return hashlib.sha256(path.read_bytes().strip()).hexdigest()

    def socket_path(self) -> str:
        """Where the Unix socket lies: in the folder, or in ``/tmp`` where the folder's path is too long."""
        path = str(self.file("control.sock"))
        if len(path.encode()) <= SOCKET_PATH_LIMIT:
            return path
        short = Path(f"/tmp/ampacity-{os.getuid()}") / hashlib.sha256(path.encode()).hexdigest()[:16]
        for folder in (short.parent, short):
            folder.mkdir(exist_ok=True, mode=0o700)
            found = folder.lstat()
            if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
                hint = "Use a state folder with a shorter path."
                raise UserError(f"{folder} is not a folder that this user alone can write.", hint=hint)
        return str(short / "control.sock")

    def write_endpoint(self, **facts: object) -> None:
        write_atomically(self.file("control.json"), json.dumps(facts, indent=1).encode() + b"\n")

    def remove_endpoint(self) -> None:
        self.file("control.json").unlink(missing_ok=True)

    def read_gateway_port(self) -> int | None:
        """The port that the gateway had last, if that is known."""
        path = self.file("gateway") / "port"
        text = path.read_text(errors="replace").strip() if path.exists() else ""
        return int(text) if text.isascii() and text.isdigit() else None

    def write_gateway_port(self, port: int) -> None:
        path = self.file("gateway") / "port"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        write_atomically(path, str(port).encode())


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether one could listen there now."""
    return _bindable(port, host) is not None


def choose_port(usual: int, host: str = "127.0.0.1") -> int:
    """The usual port when it is free, else some free one."""
    for port in (usual, 0):
        found = _bindable(port, host)
        if found is not None:
            return found
    raise PortInUse(f"No port is free on {host}.")


def _bindable(port: int, host: str) -> int | None:
    """The port, or for 0 some free one; ``None``: it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def refuse_taken(port: int, host: str = "127.0.0.1") -> None:
    """Raises ``PortInUse`` when somebody listens there."""
    if not is_free(port, host):
        hint = "Choose another port, or leave it out for a free one."
        raise PortInUse(f"The port {port} on {host} is in use.", hint=hint)


def write_atomically(path: Path, data: bytes) -> None:
    """Write by write, fsync and rename, with mode 0600. Raises ``OSError``."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)

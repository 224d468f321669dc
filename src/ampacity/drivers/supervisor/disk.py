"""The format on disk (docs/architecture.md, "A member on disk"): whole files by rename, fact lines by single writes."""

from __future__ import annotations

import _thread
import errno
import json
import os

from .holes import reserve_beyond
from .small_files import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FORMAT = 1
EXIT_RESERVE_BYTES = 32_768
FULL_BELOW_BYTES = 262_144


def read_json(path: str) -> dict[str, Any] | None:
    """The object in the file; ``None`` when it is absent or not a whole JSON object."""
    try:
        value = json.loads(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: str, value: Mapping[str, Any], *, durable: bool = True, scratch: str = "") -> None:
    """Write the file whole: readers see the old one or the new one. Raises ``OSError``.

    Args:
        durable: it survives a loss of power once this returns.
        scratch: an existing file to write into and rename, whose blocks are used again (see :func:`reserve`).
    """
    scratch = scratch or f"{path}.{os.urandom(6).hex()}.tmp"
    data = json.dumps(value, separators=(",", ":")).encode()
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        written = 0
        while written < len(data):
            written += os.write(fd, data[written:])
        if os.fstat(fd).st_size > len(data):
            os.ftruncate(fd, len(data))
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(scratch, path)
    if durable:
        sync_folder(os.path.dirname(path))


class Syncing:
    """Makes a renamed file durable in a thread of its own, beside what the caller does meanwhile.

    A file's own journal entry holds its last renaming (ext4, XFS, Btrfs and F2FS): its folder is not waited for.
    """

    __slots__ = ("_done", "_error", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._error: OSError | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._sync, ())

    def wait(self) -> None:
        """Until it survives a loss of power. Raises ``OSError``."""
        with self._done:
            if self._error is not None:
                raise self._error

    def _sync(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            self._error = error
        finally:
            self._done.release()


def sync_folder(folder: str) -> None:
    """Make the names in the folder survive a loss of power."""
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def reserve(path: str) -> str:
    """Take disk space for ``exit.json`` beforehand, so that a full disk cannot keep a member from reporting its end.

    Answers the scratch file for :func:`write_json`; without room it is empty and the write has to find its own. What
    is not needed is given back by :func:`trim`.
    """
    scratch = f"{path}.reserved"
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not reserve_beyond(fd, EXIT_RESERVE_BYTES):
            os.posix_fallocate(fd, 0, EXIT_RESERVE_BYTES)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EINVAL):
            raise
    finally:
        os.close(fd)
    return scratch


def trim(path: str) -> None:
    """Give back the space after the end of a file that :func:`reserve` took. Raises ``OSError``."""
    os.truncate(path, os.stat(path).st_size)


def is_full(folder: str) -> bool:
    """Whether the disk that holds the folder has next to no room left, in bytes or in files."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    no_files = found.f_files > 0 and found.f_favail == 0
    return no_files or found.f_bavail * found.f_frsize < FULL_BELOW_BYTES


def append_fact(path: str, fact: Mapping[str, Any]) -> None:
    """Append one line in one write, after a newline where a torn line ends the file. Raises ``OSError``."""
    line = json.dumps(fact, separators=(",", ":")).encode() + b"\n"
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        if os.write(fd, b"\n" + line if torn else line) < len(line):
            raise OSError(errno.ENOSPC, "the fact was written in part", path)
    finally:
        os.close(fd)

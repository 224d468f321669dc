"""The files of a member: its working directory and its private folder, and nothing outside of the two.

A path is resolved first, and has to end up inside. Then it is walked component by component without following a link,
so that one that is exchanged meanwhile leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ampacity.drivers.base import FileEntry, FileKind
from ampacity.model.errors import AmpacityError, Conflict, Forbidden, InvalidSpec, NotFound, UserError, Where

PRIVATE = "{member_dir}"
"""How a path into the member's private folder begins."""

HIDDEN = frozenset({"secrets"})
"""What of the private folder is nobody's to copy."""


class LocalMemberFiles:
    """Fulfils ``MemberFiles``. ``workdir`` and ``private`` are absolute."""

    def __init__(self, workdir: str, private: str) -> None:
        self._workdir, self._private = os.path.realpath(workdir), os.path.realpath(private)

    def entry(self, path: str) -> FileEntry:
        root, parts = self._place(path)
        with _opened(root, parts, path) as fd:
            return _entry(parts[-1] if parts else "", os.fstat(fd))

    def entries(self, path: str, *, limit: int, after: str = "") -> tuple[FileEntry, ...]:
        root, parts = self._place(path)
        found = []
        with _opened(root, parts, path) as fd:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise NotFound(f"{path!r} is no folder.")
            hidden = HIDDEN if root == self._private and not parts else frozenset()
            for name in sorted(name for name in os.listdir(fd) if name > after and name not in hidden):
                try:
                    found.append(_entry(name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
                except FileNotFoundError:
                    continue  # removed since it was listed
                if len(found) >= limit:
                    break
        return tuple(found)

    def read(self, path: str, *, offset: int, limit: int, version: str = "") -> bytes:
        root, parts = self._place(path)
        with _opened(root, parts, path) as fd:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise NotFound(f"{path!r} is no file.")
            if version and version != _version(found):
                raise Conflict(f"{path} has changed since the copy began.", hint="Copy it again.")
            return os.pread(fd, limit, offset)

    def write(self, path: str, data: bytes, *, offset: int, size: int, mode: int) -> int:
        """The parts go into a file beside it, which takes its place when it is whole."""
        root, parts = self._place(path)
        if root != self._workdir:
            raise Forbidden("The private folder of a member is read only.", hint="Copy into the working directory.")
        if not parts:
            raise InvalidSpec(f"{path!r} names no file.", where=Where(key="path"))
        if offset + len(data) > size:
            raise InvalidSpec(f"More than the {size} bytes that were announced.", where=Where(key="size"))
        partial = f".{parts[-1]}.ampacity-part"
        try:
            with _folder(root, parts[:-1], make=True) as folder:
                _refuse_folder(folder, parts[-1], path)
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if offset == 0 else 0)
                fd = os.open(partial, flags, 0o600, dir_fd=folder)
                try:
                    return _write_part(fd, folder, (partial, parts[-1]), data, offset=offset, size=size, mode=mode)
                finally:
                    os.close(fd)
        except OSError as error:
            raise _said(error, path) from error

    def _place(self, path: str) -> tuple[str, list[str]]:
        """The root that the path belongs to, and its components below it, all links resolved."""
        if "\0" in path:
            raise InvalidSpec("A path has no zero byte.", where=Where(key="path"))
        private = path == PRIVATE or path.startswith(PRIVATE + "/")
        root = self._private if private else self._workdir
        asked = path.removeprefix(PRIVATE).lstrip("/") if private else path
        target = os.path.realpath(os.path.join(root, asked))
        for base in (root, self._workdir, self._private):
            if target == base:
                return base, []
            if target.startswith(base.rstrip("/") + "/"):
                parts = target[len(base.rstrip("/")) + 1 :].split("/")
                if base == self._private and parts[0] in HIDDEN:
                    break
                return base, parts
        raise Forbidden(
            f"{path!r} leads out of the job's folders.",
            hint=f"Give a path below its working directory, or one that begins with {PRIVATE}/.",
        )


def _write_part(fd: int, folder: int, names: tuple[str, str], data: bytes, *, offset: int, size: int, mode: int) -> int:
    partial, name = names
    standing = os.fstat(fd).st_size
    if standing < offset:
        raise Conflict(f"Of {name!r} only {standing} bytes are here.", hint=f"Go on at {standing}.")
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)
    if offset + len(data) == size:
        os.ftruncate(fd, size)
        os.fchmod(fd, mode & 0o777)
        os.fsync(fd)
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    return offset + len(data)


def _refuse_folder(folder: int, name: str, path: str) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise Conflict(f"{path} is there already, and is no file.", hint="Choose another name.")


@contextmanager
def _opened(root: str, parts: list[str], path: str) -> Iterator[int]:
    """A descriptor of it, to be read."""
    try:
        with _folder(root, parts[:-1], make=False) as folder:
            name = parts[-1] if parts else "."
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise _said(error, path) from error
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _folder(root: str, parts: list[str], *, make: bool) -> Iterator[int]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            above, fd = fd, os.open(part, flags, dir_fd=fd)
            os.close(above)
        yield fd
    finally:
        os.close(fd)


def _said(error: OSError, path: str) -> AmpacityError:
    """A foreign error, mapped once."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ELOOP | errno.ENXIO:
            return NotFound(f"There is no {path!r} in the job's folder.")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Forbidden(f"{path!r} cannot be opened: {error.strerror}.")
        case errno.ENOSPC | errno.EDQUOT:
            return Conflict(f"{path!r} cannot be written: {error.strerror}.", hint="Make room on that disk.")
        case _:
            return UserError(f"{path!r} cannot be used: {error.strerror}.")


def _entry(name: str, found: os.stat_result) -> FileEntry:
    return FileEntry(
        name=name,
        kind=_kind(found.st_mode),
        size_bytes=found.st_size,
        modified_at=found.st_mtime,
        mode=stat.S_IMODE(found.st_mode),
        version=_version(found),
    )


def _kind(mode: int) -> FileKind:
    if stat.S_ISREG(mode):
        return FileKind.FILE
    if stat.S_ISDIR(mode):
        return FileKind.FOLDER
    return FileKind.LINK if stat.S_ISLNK(mode) else FileKind.OTHER


def _version(found: os.stat_result) -> str:
    """Changes when the content does."""
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"

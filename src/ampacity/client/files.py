"""Copying a job's files: listings, and bytes in both directions, over cuts and restarts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ampacity.api.answers import FilePage, Received
from ampacity.drivers.base import FileEntry, FileKind
from ampacity.model.errors import Conflict, InvalidSpec, NotRunning, Where

from .follow import Patience
from .link import Link, Query

SEND_BYTES = 4 << 20

Told = Callable[[int], None]
"""Is told how many bytes more have come or gone."""


def silent(count: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy came to. ``skipped``: links and what is no file, by their paths."""

    files: int
    size_bytes: int
    skipped: tuple[str, ...] = ()


class JobFiles:
    """The files of one member of a workload. Paths are relative to its working directory, or begin with
    ``{member_dir}/``, its private folder (read only).

    All raise ``NotFound``, and ``Forbidden`` for a path that leads out of the two.
    """

    def __init__(self, link: Link, ref: str, where: Query, *, reconnect_s: float) -> None:
        self._link, self._base, self._where = link, f"/workloads/{quote(ref, safe='')}", dict(where)
        self._reconnect_s = reconnect_s

    def entry(self, path: str) -> FileEntry:
        """What the path names."""
        return self._page(path, limit=1).entry

    def entries(self, path: str = ".") -> Iterator[FileEntry]:
        """What is in a folder, by name."""
        page = self._page(path)
        yield from page.entries
        while page.next is not None:
            page = self._page(path, next=page.next)
            yield from page.entries

    def walk(self, path: str) -> Iterator[tuple[str, FileEntry]]:
        """Everything below a folder, by its path from there; a folder before what is in it."""
        for entry in self.entries(path):
            yield entry.name, entry
            if entry.kind is FileKind.FOLDER:
                for below, found in self.walk(f"{path.rstrip('/')}/{entry.name}"):
                    yield f"{entry.name}/{below}", found

    def get(self, path: str, target: Path, *, told: Told = silent) -> Copied:
        """Copy a file to ``target``, or a folder's content into it.

        What was fetched of a file before goes on where it was, as long as the file is the same. Raises ``Conflict``
        when it changes meanwhile.
        """
        entry = self.entry(path)
        if entry.kind is FileKind.FILE:
            return Copied(files=1, size_bytes=self._get_file(path, entry, target, told))
        target.mkdir(parents=True, exist_ok=True)
        files, size, skipped = 0, 0, []
        for below, found in self.walk(path):
            into = target / _inside(below)
            if found.kind is FileKind.FOLDER:
                into.mkdir(exist_ok=True)
            elif found.kind is FileKind.FILE:
                size += self._get_file(f"{path.rstrip('/')}/{below}", found, into, told)
                files += 1
            else:
                skipped.append(below)
        return Copied(files=files, size_bytes=size, skipped=tuple(skipped))

    def put(self, source: Path, path: str, *, told: Told = silent) -> Copied:
        """Copy a file to ``path``, or a folder's content into it. Links are passed over."""
        if source.is_file():
            return Copied(files=1, size_bytes=self._put_file(source, path, told))
        files, size, skipped = 0, 0, []
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted([*names, *(each for each in folders if os.path.islink(os.path.join(folder, each)))]):
                full = Path(folder) / name
                below = full.relative_to(source).as_posix()
                if full.is_symlink() or not full.is_file():
                    skipped.append(below)
                    continue
                size += self._put_file(full, f"{path.rstrip('/')}/{below}", told)
                files += 1
        return Copied(files=files, size_bytes=size, skipped=tuple(skipped))

    def _page(self, path: str, **more: int | str) -> FilePage:
        return self._link.call("GET", f"{self._base}/files", FilePage, query={**self._where, "path": path, **more})

    def _get_file(self, path: str, entry: FileEntry, target: Path, told: Told) -> int:
        """Into a file beside the target, whose name holds the version: only what belongs together is put together."""
        partial = target.with_name(f".{target.name}.{entry.version}.part")
        patience = Patience(self._reconnect_s)
        with open(partial, "ab") as file:
            told(file.tell())
            while file.tell() < entry.size_bytes:
                query: Query = {**self._where, "path": path, "offset": file.tell(), "version": entry.version}
                try:
                    for piece in self._link.content(f"{self._base}/content", query=query):
                        file.write(piece)
                        told(len(piece))
                        patience.renew()
                except NotRunning as error:
                    self._link.renew()
                    patience.pause(error)
            if file.tell() != entry.size_bytes:
                raise Conflict(f"{path} has changed since the copy began.", hint="Copy it again.")
        os.chmod(partial, entry.mode & 0o777)
        os.utime(partial, (entry.modified_at, entry.modified_at))
        os.replace(partial, target)
        return entry.size_bytes

    def _put_file(self, source: Path, path: str, told: Told) -> int:
        patience = Patience(self._reconnect_s)
        with open(source, "rb") as file:
            found = os.fstat(file.fileno())
            offset = 0
            while True:
                piece = file.read(min(SEND_BYTES, found.st_size - offset))
                if not piece and offset < found.st_size:
                    raise Conflict(f"{source} has become shorter while it was copied.", hint="Copy it again.")
                query: Query = {
                    **self._where,
                    "path": path,
                    "offset": offset,
                    "size": found.st_size,
                    "mode": found.st_mode & 0o777,
                }
                try:
                    received = self._link.call(
                        "PUT", f"{self._base}/content", Received, query=query, raw=piece
                    ).received_bytes
                except NotRunning as error:
                    self._link.renew()
                    patience.pause(error)
                    file.seek(offset)
                    continue
                patience.renew()
                told(received - offset)
                offset = received
                if offset >= found.st_size:
                    return offset


def _inside(below: str) -> str:
    """A path that a control plane told, held to where it may lead."""
    if any(part in ("", ".", "..") or "\0" in part for part in below.split("/")):
        raise InvalidSpec(f"The control plane told a path that is none: {below!r}.", where=Where(key="path"))
    return below

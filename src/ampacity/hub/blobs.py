"""Content-addressed blobs: written beside, verified, synced and renamed, so that none is ever there in part."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ampacity.model.errors import CorruptBlob, HubError

CHUNK_BYTES = 1 << 20
PREFIX = "sha256:"
MEND = "Remove the version and add it again from its source."


class Blobs:
    """A folder of blobs by digest (``sha256:<hex>``)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sha256"
        self._incoming = folder / "incoming"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)

    def path(self, digest: str) -> Path:
        hexes = digest.removeprefix(PREFIX)
        return self._folder / hexes[:2] / hexes

    def put(self, source: Path) -> tuple[str, int]:
        """Copy a file in; its digest and size.

        Raises:
            HubError: it cannot be read, changed while it was read, or there is no space.
        """
        fresh = self._incoming / f"{os.getpid()}-{os.urandom(6).hex()}"
        try:
            before = source.stat()
            digest, size = _copy(source, fresh)
            after = source.stat()
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
                raise HubError(f"{source} changed while it was copied.", hint="Add it again when it is at rest.")
            self._keep(fresh, digest)
        except OSError as error:
            raise HubError(f"{source} cannot be copied into the hub: {error.strerror}.") from error
        finally:
            fresh.unlink(missing_ok=True)
        return digest, size

    def _keep(self, fresh: Path, digest: str) -> None:
        """Put it in its place. One that is there and whole stays: folders of links share its bytes."""
        target = self.path(digest)
        if target.exists() and _digest(target) == digest:
            return
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            sync_folder(self._folder)
        fresh.chmod(0o444)
        os.replace(fresh, target)
        sync_folder(target.parent)

    def verify(self, digest: str, *, what: str) -> Path:
        """The blob's path once its bytes were found to match. ``what`` names it for people.

        Raises:
            CorruptBlob: they do not match, or the blob is gone.
        """
        path = self.path(digest)
        try:
            found = _digest(path)
        except OSError as error:
            raise CorruptBlob(f"{what}: the blob {digest} cannot be read: {error.strerror}.", hint=MEND) from error
        if found != digest:
            raise CorruptBlob(f"{what}: expected {digest}, found {found}.", hint=MEND)
        return path

    def sweep(self, used: set[str]) -> None:
        """Delete the blobs that nobody refers to."""
        for path in self._folder.glob("*/*"):
            if PREFIX + path.name not in used:
                path.unlink(missing_ok=True)

    def clear_incoming(self) -> None:
        """Delete what writers that died left behind. The caller holds the hub's lock."""
        for path in self._incoming.iterdir():
            path.unlink(missing_ok=True)


def copy_verified(source: Path, target: Path, digest: str, *, what: str) -> None:
    """Copy and check the very bytes that were written; nothing is left where they do not match.

    Raises:
        CorruptBlob: they do not, or the source is gone.
        OSError: the target cannot be written.
    """
    fresh = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        found, _ = _copy(source, fresh)
        if found != digest:
            raise CorruptBlob(f"{what}: expected {digest}, found {found}.", hint=MEND)
        os.replace(fresh, target)
    except FileNotFoundError as error:
        raise CorruptBlob(f"{what}: the blob {digest} cannot be read: {error.strerror}.", hint=MEND) from error
    finally:
        fresh.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, data: bytes) -> None:
    """Write by write, fsync and rename. The caller holds the hub's lock."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync_folder(path.parent)


def remove_tree(folder: Path) -> None:
    """Delete a folder by renaming it away first, so that nobody sees it in part."""
    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}")
        os.replace(folder, doomed)
        shutil.rmtree(doomed)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _digest(path: Path) -> str:
    running = hashlib.sha256()
    for chunk in _chunks(path):
        running.update(chunk)
    return PREFIX + running.hexdigest()


def _copy(source: Path, target: Path) -> tuple[str, int]:
    running, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        for chunk in _chunks(source):
            running.update(chunk)
            file.write(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return PREFIX + running.hexdigest(), size

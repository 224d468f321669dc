"""``Hub``: versions of models over content-addressed blobs."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ampacity.model.errors import HubError, InvalidSpec, Where

from .blobs import PREFIX, Blobs, copy_verified, remove_tree, sync_folder
from .manifests import Manifests
from .names import LATEST, check_name, check_tag
from .safetensors_header import read_weights
from .source import architecture_of, files_of
from .version import Lineage, ModelFile, ModelVersion, Weights


class Hub:
    """A folder of models. Safe to use from several processes: changes are made under a lock.

    ``blobs/`` holds the bytes, ``models/<name>/<n>.json`` a version, ``models/<name>/tags.json`` where the tags point,
    ``materialized/<digest>/`` a version's files as a folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._manifests = Manifests(self._folder / "models")
        self._materialized = self._folder / "materialized"
        self._materialized.mkdir(parents=True, exist_ok=True)
        self._blobs = Blobs(self._folder / "blobs")
        self._clear()

    # Adding --------------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        source: Path,
        *,
        tags: Collection[str] = (),
        lineage: Lineage | None = None,
        created_at: float,
    ) -> ModelVersion:
        """Register a folder (or one file) as the next version. The tag ``latest`` moves to it.

        The same content under the same name is the version that is there, with the new tags.

        Raises:
            InvalidSpec: the name, a tag or the source is wrong.
            HubError: a file cannot be copied, or is not what its name says.
        """
        check_name(name)
        wanted = [check_tag(tag) for tag in dict.fromkeys((*tags, LATEST))]
        try:
            found = files_of(Path(source))
            weights = read_weights(path for _, path in found if path.suffix == ".safetensors")
            architecture = architecture_of(found)
        except OSError as error:
            raise HubError(f"{error.filename or source} cannot be read: {error.strerror}.") from error
        with self._locked():
            try:
                files = tuple(self._take(relative, path) for relative, path in found)
            except HubError:
                self._sweep()  # a full disk gets back what was copied so far
                raise
            digest = _digest(files)
            same = next((each for each in self._manifests.versions(name) if each.digest == digest), None)
            version = same or self._write(name, files, digest, weights, architecture, lineage, created_at)
            self._manifests.tag(name, version.version, wanted)
            return self._manifests.with_tags(version)

    def _take(self, relative: str, path: Path) -> ModelFile:
        digest, size = self._blobs.put(path)
        return ModelFile(path=relative, digest=digest, size_bytes=size)

    def _write(
        self,
        name: str,
        files: tuple[ModelFile, ...],
        digest: str,
        weights: Weights,
        architecture: str,
        lineage: Lineage | None,
        created_at: float,
    ) -> ModelVersion:
        version = ModelVersion(
            name=name,
            version=self._manifests.highest(name) + 1,
            digest=digest,
            created_at=created_at,
            files=files,
            size_bytes=sum(file.size_bytes for file in files),
            weights=weights,
            architecture=architecture,
            lineage=lineage or Lineage(),
        )
        self._manifests.write(version)
        return version

    # Reading -------------------------------------------------------------------------------------------------------

    def list(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        """The latest version of each model by name; with a name all its versions, newest first.

        Raises:
            NotFound: there is no such model.
        """
        return self._manifests.list(name)

    def get(self, ref: str) -> ModelVersion:
        """Raises ``NotFound``, ``InvalidSpec``."""
        return self._manifests.get(ref)

    def verify(self, ref: str) -> ModelVersion:
        """Read all its bytes. Raises ``CorruptBlob`` as well."""
        version = self.get(ref)
        for file in version.files:
            self._blobs.verify(file.digest, what=f"{version.ref}, {file.path}")
        return version

    def materialize(self, ref: str) -> Path:
        """A folder with the version's files, for an engine to read. Made once, verified then; do not write into it.

        Raises ``NotFound``, ``CorruptBlob``; ``HubError`` when the folder cannot be written.
        """
        version = self.get(ref)
        target = self._materialized / version.digest.removeprefix(PREFIX)
        if target.is_dir():
            return target
        with self._locked():
            version = self.get(version.ref)  # removed meanwhile?
            if target.is_dir():
                return target
            fresh = self._materialized / f".{target.name}"
            try:
                remove_tree(fresh)
                self._link(version, fresh)
                os.replace(fresh, target)
                sync_folder(self._materialized)
            except OSError as error:
                raise HubError(f"{version.ref} cannot be laid out in {target}: {error.strerror}.") from error
            finally:
                remove_tree(fresh)
        return target

    def _link(self, version: ModelVersion, folder: Path) -> None:
        """Hard links to the blobs; symbolic ones where the file system has no others."""
        for file in version.files:
            blob = self._blobs.verify(file.digest, what=f"{version.ref}, {file.path}")
            place = folder / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(blob, place)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV):
                    raise
                os.symlink(os.path.abspath(blob), place)

    def export(self, ref: str, to: Path) -> ModelVersion:
        """Copy the files into the folder ``to`` (made if absent), each verified as it is written.

        Raises ``NotFound``, ``CorruptBlob``; ``InvalidSpec`` when ``to`` holds one of the files already; ``HubError``
        when it cannot be written.
        """
        version = self.get(ref)
        for file in version.files:
            if (to / file.path).exists():
                raise InvalidSpec(f"{to / file.path} is there already.", where=Where(key="to"))
        for file in version.files:
            target = to / file.path
            what = f"{version.ref}, {file.path}"
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                copy_verified(self._blobs.path(file.digest), target, file.digest, what=what)
            except OSError as error:
                raise HubError(f"{what} cannot be written to {target}: {error.strerror}.") from error
        return version

    # Removing ------------------------------------------------------------------------------------------------------

    def remove(self, ref: str) -> ModelVersion:
        """Remove one version, and the blobs that nobody else refers to. Raises ``NotFound``."""
        with self._locked():
            version = self.get(ref)
            self._manifests.remove(version)  # before its blobs go
            everything = self._sweep()
            if all(each.digest != version.digest for each in everything):
                remove_tree(self._materialized / version.digest.removeprefix(PREFIX))
            return version

    def _sweep(self) -> tuple[ModelVersion, ...]:
        """Delete the blobs that no version refers to; all versions. Raises ``HubError`` before it deletes anything."""
        everything = self._manifests.all()
        self._blobs.sweep({file.digest for each in everything for file in each.files})
        return everything

    def _clear(self) -> None:
        """Delete what writers that died left behind, unless somebody writes now."""
        handle = self._open_lock()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._blobs.clear_incoming()
            self._sweep()
        except (BlockingIOError, HubError):  # a manifest that cannot be read is told to whoever asks for it
            return
        finally:
            os.close(handle)

    # Files ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = self._open_lock()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _open_lock(self) -> int:
        return os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _digest(files: tuple[ModelFile, ...]) -> str:
    """Of the list of the files: their paths and digests."""
    lines = "".join(f"{file.digest} {file.path}\n" for file in files)
    return PREFIX + hashlib.sha256(lines.encode()).hexdigest()

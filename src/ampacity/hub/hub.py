"""``Hub``: versions of models over content-addressed blobs."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import msgspec

from ampacity.model.errors import HubError, InvalidSpec, NotFound, Where

from .blobs import PREFIX, Blobs, copy_verified, remove_tree, sync_folder, write_new
from .names import LATEST, Ref, check_name, check_tag, parse_ref
from .safetensors_header import read_weights
from .version import Lineage, ModelFile, ModelVersion, Weights

TAGS_FILE = "tags.json"


class Hub:
    """A folder of models. Safe to use from several processes: changes are made under a lock.

    ``blobs/`` holds the bytes, ``models/<name>/<n>.json`` a version, ``models/<name>/tags.json`` where the tags point,
    ``materialized/<digest>/`` a version's files as a folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._models = self._folder / "models"
        self._materialized = self._folder / "materialized"
        for each in (self._models, self._materialized):
            each.mkdir(parents=True, exist_ok=True)
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
            found = _files(Path(source))
            weights = read_weights(path for _, path in found if path.suffix == ".safetensors")
            architecture = _architecture(found)
        except OSError as error:
            raise HubError(f"{error.filename or source} cannot be read: {error.strerror}.") from error
        with self._locked():
            try:
                files = tuple(self._take(relative, path) for relative, path in found)
            except HubError:
                self._sweep()  # a full disk gets back what was copied so far
                raise
            digest = _digest(files)
            same = next((each for each in self._versions(name) if each.digest == digest), None)
            version = same or self._write(name, files, digest, weights, architecture, lineage, created_at)
            self._tag(name, version.version, wanted)
            return self._with_tags(version)

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
        folder = self._models / name
        if not folder.is_dir():
            folder.mkdir()
            sync_folder(self._models)
        number = self._highest(name) + 1
        version = ModelVersion(
            name=name,
            version=number,
            digest=digest,
            created_at=created_at,
            files=files,
            size_bytes=sum(file.size_bytes for file in files),
            weights=weights,
            architecture=architecture,
            lineage=lineage or Lineage(),
        )
        write_new(folder / f"{number}.json", msgspec.json.format(msgspec.json.encode(version), indent=1))
        return version

    def _highest(self, name: str) -> int:
        """The highest number ever given: a removed version's number is not given again."""
        numbers = [version.version for version in self._versions(name)]
        return max([*numbers, self._tags(name).get("", 0)])

    # Reading -------------------------------------------------------------------------------------------------------

    def list(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        """The latest version of each model by name; with a name all its versions, newest first.

        Raises:
            NotFound: there is no such model.
        """
        if name is not None:
            versions = self._versions(check_name(name))
            if not versions:
                raise self._unknown(name)
            return tuple(self._with_tags(version) for version in reversed(versions))
        newest = [versions[-1] for known in self._names() if (versions := self._versions(known))]
        return tuple(self._with_tags(version) for version in newest)

    def get(self, ref: str) -> ModelVersion:
        """Raises ``NotFound``, ``InvalidSpec``."""
        wanted = parse_ref(ref)
        versions = {version.version: version for version in self._versions(wanted.name)}
        if not versions:
            raise self._unknown(wanted.name)
        tags = self._tags(wanted.name)
        if wanted.tag == LATEST:  # an add that was killed before it moved the tag has made a version nevertheless
            tags.setdefault(LATEST, max(versions))
        number = wanted.version if wanted.version is not None else tags.get(wanted.tag)
        if number not in versions:
            raise _no_version(wanted, versions.values(), tags)
        return self._with_tags(versions[number])

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
            tags = self._tags(version.name)
            left = [each.version for each in self._versions(version.name) if each.version != version.version]
            kept = {tag: number for tag, number in tags.items() if number != version.version}
            kept[""] = max(version.version, tags.get("", 0))
            if left:
                kept.setdefault(LATEST, max(left))
            self._write_tags(version.name, kept)
            (self._models / version.name / f"{version.version}.json").unlink()
            sync_folder(self._models / version.name)  # before its blobs go
            everything = self._sweep()
            if all(each.digest != version.digest for each in everything):
                remove_tree(self._materialized / version.digest.removeprefix(PREFIX))
            return version

    def _sweep(self) -> tuple[ModelVersion, ...]:
        """Delete the blobs that no version refers to; all versions. Raises ``HubError`` before it deletes anything."""
        everything = tuple(each for name in self._names() for each in self._versions(name))
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

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._models.iterdir() if path.is_dir()))

    def _versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Oldest first. Raises ``HubError`` for a manifest that cannot be read."""
        found = []
        for path in (self._models / name).glob("[0-9]*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=ModelVersion))
            except msgspec.DecodeError as error:
                raise HubError(
                    f"{path} cannot be read: {error}.", hint="Restore it from a backup or remove it."
                ) from error
        return tuple(sorted(found, key=lambda version: version.version))

    def _tags(self, name: str) -> dict[str, int]:
        """Where tags point; the empty tag keeps the highest number of the removed ones."""
        path = self._models / name / TAGS_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise HubError(f"{path} cannot be read: {error}.", hint="Restore it from a backup or remove it.") from error

    def _tag(self, name: str, number: int, tags: Collection[str]) -> None:
        self._write_tags(name, {**self._tags(name), **dict.fromkeys(tags, number)})

    def _write_tags(self, name: str, tags: dict[str, int]) -> None:
        write_new(self._models / name / TAGS_FILE, msgspec.json.encode(tags, order="sorted"))

    def _with_tags(self, version: ModelVersion) -> ModelVersion:
        tags = self._tags(version.name)
        return replace(version, tags=tuple(sorted(tag for tag, n in tags.items() if tag and n == version.version)))

    def _unknown(self, name: str) -> NotFound:
        near = get_close_matches(name, [known for known in self._names() if self._versions(known)], n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`ampacity models list` shows what there is."
        return NotFound(f"There is no model {name!r}.", hint=hint)


def _no_version(wanted: Ref, versions: Collection[ModelVersion], tags: dict[str, int]) -> NotFound:
    numbers = ", ".join(str(version.version) for version in versions)
    named = ", ".join(sorted(tag for tag in tags if tag)) or "none"
    return NotFound(f"There is no {wanted}.", hint=f"{wanted.name} has the versions {numbers} and the tags {named}.")


def _files(source: Path) -> list[tuple[str, Path]]:
    """The files to take, by their path inside the source. Raises ``InvalidSpec``."""
    where = Where(key="path")
    if source.is_file():
        return [(source.name, source)]
    if not source.is_dir():
        raise InvalidSpec(f"{source} is not there.", where=where, hint="Give a folder with the model's files.")
    root = source.resolve()
    found = sorted(path for path in source.rglob("*") if path.is_file() or path.is_symlink())
    for path in found:
        if not path.resolve().is_relative_to(root) or not path.is_file():
            raise InvalidSpec(f"{path} leads out of the folder, or nowhere.", where=where, hint="Copy the file in.")
    if not found:
        raise InvalidSpec(f"{source} holds no file.", where=where)
    return [(path.relative_to(source).as_posix(), path) for path in found]


def _digest(files: tuple[ModelFile, ...]) -> str:
    """Of the list of the files: their paths and digests."""
    lines = "".join(f"{file.digest} {file.path}\n" for file in files)
    return PREFIX + hashlib.sha256(lines.encode()).hexdigest()


def _architecture(found: list[tuple[str, Path]]) -> str:
    """What ``config.json`` names; empty when there is none or it names nothing."""
    path = next((path for relative, path in found if relative == "config.json"), None)
    if path is None:
        return ""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"{path} is no JSON: {error}.") from error
    names = config.get("architectures") if isinstance(config, dict) else None
    return str(names[0]) if isinstance(names, list) and names else ""

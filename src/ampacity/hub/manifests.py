"""The manifests of models' versions, and the tags that point at them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import msgspec

from ampacity.model.errors import HubError, NotFound

from .blobs import sync_folder, write_new
from .names import LATEST, Ref, check_name, parse_ref
from .version import ModelVersion

TAGS_FILE = "tags.json"


class Manifests:
    """``<name>/<n>.json`` is a version, ``<name>/tags.json`` says where the tags point. Whoever writes holds the hub's
    lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def list(self, name: str | None) -> tuple[ModelVersion, ...]:
        """The latest version of each model by name; with a name all its versions, newest first. Raises ``NotFound``."""
        if name is not None:
            versions = self.versions(check_name(name))
            if not versions:
                raise self._unknown(name)
            return tuple(self.with_tags(version) for version in reversed(versions))
        newest = [versions[-1] for known in self._names() if (versions := self.versions(known))]
        return tuple(self.with_tags(version) for version in newest)

    def get(self, ref: str) -> ModelVersion:
        """Raises ``NotFound``, ``InvalidSpec``."""
        wanted = parse_ref(ref)
        versions = {version.version: version for version in self.versions(wanted.name)}
        if not versions:
            raise self._unknown(wanted.name)
        tags = self._tags(wanted.name)
        if wanted.tag == LATEST:  # an add that was killed before it moved the tag has made a version nevertheless
            tags.setdefault(LATEST, max(versions))
        number = wanted.version if wanted.version is not None else tags.get(wanted.tag)
        if number not in versions:
            raise _no_version(wanted, versions.values(), tags)
        return self.with_tags(versions[number])

    def all(self) -> tuple[ModelVersion, ...]:
        return tuple(version for name in self._names() for version in self.versions(name))

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Oldest first. Raises ``HubError`` for a manifest that cannot be read."""
        found = []
        for path in (self._folder / name).glob("[0-9]*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=ModelVersion))
            except msgspec.DecodeError as error:
                raise HubError(
                    f"{path} cannot be read: {error}.", hint="Restore it from a backup or remove it."
                ) from error
        return tuple(sorted(found, key=lambda version: version.version))

    def highest(self, name: str) -> int:
        """The highest number ever given: a removed version's number is not given again."""
        numbers = [version.version for version in self.versions(name)]
        return max([*numbers, self._tags(name).get("", 0)])

    def write(self, version: ModelVersion) -> None:
        """A new one."""
        folder = self._folder / version.name
        if not folder.is_dir():
            folder.mkdir()
            sync_folder(self._folder)
        content = msgspec.json.format(msgspec.json.encode(version), indent=1)
        write_new(folder / f"{version.version}.json", content)

    def remove(self, version: ModelVersion) -> None:
        """With the tags that point at it; ``latest`` goes back to the highest one that is left."""
        folder, tags = self._folder / version.name, self._tags(version.name)
        left = [each.version for each in self.versions(version.name) if each.version != version.version]
        kept = {tag: number for tag, number in tags.items() if number != version.version}
        kept[""] = max(version.version, tags.get("", 0))
        if left:
            kept.setdefault(LATEST, max(left))
        self._write_tags(version.name, kept)
        (folder / f"{version.version}.json").unlink()
        sync_folder(folder)

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._folder.iterdir() if path.is_dir()))

    def _tags(self, name: str) -> dict[str, int]:
        """Where tags point; the empty tag keeps the highest number of the removed ones."""
        path = self._folder / name / TAGS_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise HubError(f"{path} cannot be read: {error}.", hint="Restore it from a backup or remove it.") from error

    def tag(self, name: str, number: int, tags: Collection[str]) -> None:
        self._write_tags(name, {**self._tags(name), **dict.fromkeys(tags, number)})

    def _write_tags(self, name: str, tags: dict[str, int]) -> None:
        write_new(self._folder / name / TAGS_FILE, msgspec.json.encode(tags, order="sorted"))

    def with_tags(self, version: ModelVersion) -> ModelVersion:
        tags = self._tags(version.name)
        return replace(version, tags=tuple(sorted(tag for tag, n in tags.items() if tag and n == version.version)))

    def _unknown(self, name: str) -> NotFound:
        near = get_close_matches(name, [known for known in self._names() if self.versions(known)], n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`ampacity models list` shows what there is."
        return NotFound(f"There is no model {name!r}.", hint=hint)


def _no_version(wanted: Ref, versions: Collection[ModelVersion], tags: dict[str, int]) -> NotFound:
    numbers = ", ".join(str(version.version) for version in versions)
    named = ", ".join(sorted(tag for tag in tags if tag)) or "none"
    return NotFound(f"There is no {wanted}.", hint=f"{wanted.name} has the versions {numbers} and the tags {named}.")

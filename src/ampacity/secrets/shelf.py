"""Where sealed secrets are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from ampacity.model.errors import SecretsUnreadable

from .sealing import read_private, write_private
from .secret import Secret

FORMAT = 1


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A secret and its sealed value."""

    secret: Secret
    value: bytes


Held = Mapping[tuple[str, str], Sealed]
"""By project and name."""


class Shelf(Protocol):
    """Keeps sealed secrets, durably. One caller at a time changes it."""

    def read(self) -> Held: ...

    def change(self, change: Callable[[Held], Held]) -> None:
        """Replace all, in one step."""
        ...


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    secrets: tuple[Sealed, ...]


class FileShelf:
    """One file, mode 0600, replaced whole. Secrets are few and small."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Held:
        """Raises ``SecretsUnreadable``."""
        data = read_private(self._path)
        if data is None:
            return {}
        try:
            content = msgspec.json.decode(data, type=_Content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SecretsUnreadable(
                f"{self._path} cannot be read: {error}.",
                hint="Bring it back from a copy (every backup has one), or move it away and set the secrets again.",
            ) from None
        if content.format != FORMAT:
            raise SecretsUnreadable(f"{self._path} was written by another release (format {content.format}).")
        return {(sealed.secret.project, sealed.secret.name): sealed for sealed in content.secrets}

    def change(self, change: Callable[[Held], Held]) -> None:
        content = _Content(format=FORMAT, secrets=tuple(change(self.read()).values()))
        write_private(self._path, msgspec.json.encode(content))

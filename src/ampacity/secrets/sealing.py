"""Sealing: AES-256-GCM (NIST SP 800-38D) under a key of the state folder, bound to project and name.

A sealed value is ``01 | key id (8 bytes) | nonce (12 bytes) | ciphertext and tag``. Project and name are associated
data: one that was moved under another name does not open.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ampacity.model.errors import SecretsUnreadable

_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES, _KEY_BYTES = 8, 12, 32
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _NONCE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys by their ids (hex). New values are sealed with ``current``; others are there to open older ones."""

    current: str
    keys: dict[str, bytes]

    def __repr__(self) -> str:
        return f"Keys(current={self.current!r})"

    def seal(self, project: str, name: str, value: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self.keys[self.current]).encrypt(nonce, value, _bound(project, name))
        return _VERSION + bytes.fromhex(self.current) + nonce + sealed

    def open(self, project: str, name: str, sealed: bytes) -> bytes:
        """The value. Raises ``SecretsUnreadable`` when the key is another, or the bytes were changed or moved."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        ident, nonce = key_id(sealed), sealed[_HEAD_BYTES - _NONCE_BYTES : _HEAD_BYTES]
        if ident not in self.keys:
            hint = "Bring back the state folder's `secret.key`, or set the secret again."
            raise SecretsUnreadable(f"The secret {name} was sealed with a key that is not here.", hint=hint)
        try:
            return AESGCM(self.keys[ident]).decrypt(nonce, sealed[_HEAD_BYTES:], _bound(project, name))
        except InvalidTag:
            raise SecretsUnreadable(f"The secret {name} does not verify.", hint="Set it again.") from None

    def with_new_key(self) -> Keys:
        fresh = os.urandom(_ID_BYTES).hex()
        return Keys(current=fresh, keys={**self.keys, fresh: os.urandom(_KEY_BYTES)})

    def only_current(self) -> Keys:
        return replace(self, keys={self.current: self.keys[self.current]})


def key_id(sealed: bytes) -> str:
    """The id of the key that sealed it. Raises ``SecretsUnreadable``."""
    if len(sealed) < _HEAD_BYTES or not sealed.startswith(_VERSION):
        raise SecretsUnreadable("A secret is not sealed in a form that this release knows.")
    return sealed[len(_VERSION) : len(_VERSION) + _ID_BYTES].hex()


def _bound(project: str, name: str) -> bytes:
    return f"ampacity secret\0{project}\0{name}".encode()


class KeyFile:
    """``secret.key``: JSON, mode 0600, written by rename. Made with the first secret."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Keys | None:
        """Raises ``SecretsUnreadable`` when it is not whole, or others may read it."""
        try:
            mode = os.stat(self._path).st_mode
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        if mode & 0o077:
            hint = f"`chmod 600 {self._path}`, and `ampacity secrets rotate-key`: it may have been read."
            raise SecretsUnreadable(f"{self._path} may be read by others.", hint=hint)
        try:
            return msgspec.json.decode(data, type=Keys)
        except msgspec.DecodeError:
            raise SecretsUnreadable(f"{self._path} cannot be read.", hint="Bring it back from a copy.") from None

    def write(self, keys: Keys) -> None:
        write_private(self._path, msgspec.json.encode(keys))

    def read_or_make(self) -> Keys:
        keys = self.read()
        if keys is None:
            keys = Keys(current="", keys={}).with_new_key()
            self.write(keys)
        return keys


def write_private(path: Path, data: bytes) -> None:
    """Write by write, fsync and rename, with mode 0600. Raises ``OSError``."""
    fresh = path.with_name(f".{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

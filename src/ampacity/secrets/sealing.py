"""Sealing: AES-256-GCM (NIST SP 800-38D) under a key of the state folder, bound to project and name.

A sealed value is ``01 | key id (8 bytes) | nonce (12 bytes) | ciphertext and tag``. Project and name are associated
data: one that was moved under another name does not open.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from ampacity.model.errors import SecretsUnreadable, StoreError

_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES, _KEY_BYTES = 8, 12, 32
_ID = re.compile(f"[0-9a-f]{{{2 * _ID_BYTES}}}")
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _NONCE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys by their ids (hex). New values are sealed with ``current``; others are there to open older ones.
    ``place``: the file that they are from, for messages."""

    current: str = ""
    keys: dict[str, bytes] = field(default_factory=dict)
    place: str = "secret.key"

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

        what = f"The secret {name} of the project {project}"
        ident, nonce = key_id(sealed), sealed[_HEAD_BYTES - _NONCE_BYTES : _HEAD_BYTES]
        if ident not in self.keys:
            known = ", ".join(sorted(self.keys)) or "none"
            raise SecretsUnreadable(
                f"{what} was sealed with the key {ident}, which is not in {self.place} (there: {known}).",
                hint=f"Put the file that has it (a backup `--with-keys` has one) beside that, as {self.place}.old. "
                f"Or set the secret again: `ampacity secrets set {name}`.",
            )
        try:
            return AESGCM(self.keys[ident]).decrypt(nonce, sealed[_HEAD_BYTES:], _bound(project, name))
        except InvalidTag:
            raise SecretsUnreadable(
                f"{what} does not verify: it was changed in `secrets.json`, or its key in {self.place}.",
                hint=f"Bring both back from one copy, or set the secret again: `ampacity secrets set {name}`.",
            ) from None

    def with_new_key(self) -> Keys:
        fresh = os.urandom(_ID_BYTES).hex()
        return replace(self, current=fresh, keys={**self.keys, fresh: os.urandom(_KEY_BYTES)})

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
    """``secret.key``: JSON, mode 0600, written by rename. Made with the first secret. What is in ``secret.key.old``
    beside it opens secrets, too: a key that was lost may be brought back while another one is in use."""

    def __init__(self, path: Path) -> None:
        self._path, self._old = path, path.with_name(f"{path.name}.old")

    def read(self) -> Keys:
        """None at all when there is no file. Raises ``SecretsUnreadable`` when one is not whole, or others may read
        it."""
        own, old = _keys_in(self._path), _keys_in(self._old)
        current = own.current or old.current
        return Keys(current=current, keys={**old.keys, **own.keys}, place=str(self._path))

    def write(self, keys: Keys) -> None:
        write_private(self._path, msgspec.json.encode({"current": keys.current, "keys": keys.keys}))

    def forget_old(self) -> None:
        """Once nothing is sealed with what is in the file beside it. Raises ``OSError``."""
        self._old.unlink(missing_ok=True)

    def read_or_make(self) -> Keys:
        keys = self.read()
        if not keys.current:
            keys = keys.with_new_key()
            self.write(keys)
        return keys


def _keys_in(path: Path) -> Keys:
    """Raises ``SecretsUnreadable``."""
    data = read_private(path)
    if data is None:
        return Keys()
    mode = path.stat().st_mode
    if mode & 0o077:
        raise SecretsUnreadable(
            f"{path} may be read by others (mode {mode & 0o777:04o}).",
            hint=f"`chmod 600 {path}`, and `ampacity secrets rotate-key`: it may have been read.",
        )
    hint = (
        "Bring it back from a copy (a backup `--with-keys` has one). Without one the secrets are lost: move the file "
        "away, and set them again."
    )
    if not data.strip(b"\0 \n"):
        raise SecretsUnreadable(f"{path} is empty.", hint=hint)
    try:
        keys = msgspec.json.decode(data, type=Keys)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SecretsUnreadable(f"{path} does not hold keys.", hint=hint) from None
    sound = all(_ID.fullmatch(ident) and len(key) == _KEY_BYTES for ident, key in keys.keys.items())
    if not sound or keys.current not in keys.keys:
        raise SecretsUnreadable(f"{path} does not hold whole keys.", hint=hint)
    return keys


def read_private(path: Path) -> bytes | None:
    """``None`` when there is no such file. Raises ``SecretsUnreadable``."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecretsUnreadable(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Make it a file of the user that the control plane runs as, with mode 0600.",
        ) from error


def write_private(path: Path, data: bytes) -> None:
    """Write by write, fsync and rename, with mode 0600. Raises ``StoreError``: the file is then as it was."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        hint = "Nothing was changed. See to the disk and to whom the state folder belongs, and do it again."
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.", hint=hint) from error
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

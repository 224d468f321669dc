"""A member's secrets while it lives: variables in memory, files on a file system in memory, and what to mask.

They come with the request that starts the member and are written nowhere but into the files that were asked for:
``/dev/shm`` where it is a file system in memory, else the member's own folder.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

IN_MEMORY = "/dev/shm"
NAMES = "AMPACITY_SECRETS"
"""The variable that names the variables that are secret, for those who mask them."""

FOLDER = "AMPACITY_SECRETS_DIR"
MASK = b"***"
SHORTEST_MASKED = 8
"""Shorter values would hide innocent text."""


class Secrets:
    """``given``: ``{"envs": {name: text}, "files": {name: base64}}``."""

    __slots__ = ("_envs", "_files", "_folder", "masks")

    def __init__(self, given: Mapping[str, Any], member_folder: str) -> None:
        self._envs: dict[str, str] = dict(given.get("envs") or {})
        self._files = {name: base64.b64decode(text) for name, text in (given.get("files") or {}).items()}
        self._folder = folder_of(member_folder) if self._files else ""
        self.masks = masks_of(
            [*(text.encode("utf-8", "surrogateescape") for text in self._envs.values()), *self._files.values()]
        )

    def place(self) -> dict[str, str]:
        """Write the files; answers the variables. Raises ``OSError``."""
        env = dict(self._envs)
        if self._envs:
            env[NAMES] = ",".join(sorted(self._envs))
        if not self._files:
            return env
        self.remove()
        os.mkdir(self._folder, 0o700)
        for name, value in self._files.items():
            path = os.path.join(self._folder, name)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(value)
            env[f"{name}_FILE"] = path
        env[FOLDER] = self._folder
        return env

    def remove(self) -> None:
        """Remove the files. Safe to repeat."""
        if self._folder:
            remove(self._folder)


def folder_of(member_folder: str) -> str:
    """Where the secret files of that member lie, if it has any."""
    if in_memory(IN_MEMORY):
        name = hashlib.sha256(os.path.abspath(member_folder).encode()).hexdigest()[:24]
        return os.path.join(IN_MEMORY, f"ampacity-{os.getuid()}-{name}")
    return os.path.join(member_folder, "secrets")


def remove(folder: str) -> None:
    """Remove the folder if it is ours; nobody else's is touched."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.lstat(folder).st_uid == os.getuid():
            shutil.rmtree(folder)


def in_memory(folder: str) -> bool:
    """Whether the folder is a file system in memory that this user can write."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    with open("/proc/self/mounts", "rb") as file:
        fields = [line.split(b" ") for line in file]
    return any(each[1] == folder.encode() and each[2] in (b"tmpfs", b"ramfs") for each in fields if len(each) > 2)


def masks_of(values: Iterable[bytes]) -> list[bytes]:
    """What to look for in a line of output: each line of each value that is long enough, the longest first."""
    lines = {line.strip() for value in values for line in value.splitlines()}
    return sorted((line for line in lines if len(line) >= SHORTEST_MASKED), key=len, reverse=True)


def masked(line: bytes, masks: list[bytes]) -> bytes:
    for mask in masks:
        if mask in line:
            line = line.replace(mask, MASK)
    return line

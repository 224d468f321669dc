"""Looking every few seconds what a member uses of what the kernel does not limit."""

from __future__ import annotations

from .causes import full_words
from .disk import is_full
from .limits import Limits, memory_words, size
from .processes import private_memory_bytes
from .usage import disk_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S = 5.0
CLOSELY_EVERY_S = 2.0
GROWN_BYTES = 65_536


class Watch:
    """Remembers what the folder took while there was room on its disk: who grew since then filled it.

    ``every_s``: how often to look.
    """

    __slots__ = ("_folder", "_limits", "_used_bytes", "every_s")

    def __init__(self, folder: str, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._used_bytes = 0
        closely = limits.watched_memory_bytes or limits.asked.get("disk_bytes")
        self.every_s = CLOSELY_EVERY_S if closely else EVERY_S

    def broken(self, processes: Callable[[], set[int]]) -> tuple[str, str] | None:
        """The kind and the words of the cause to end the member for, if it uses more than it may."""
        return self._memory(processes) or self._disk()

    def _memory(self, processes: Callable[[], set[int]]) -> tuple[str, str] | None:
        limit_bytes = self._limits.watched_memory_bytes
        if limit_bytes is None:
            return None
        used_bytes = sum(private_memory_bytes(pid) for pid in processes())
        return ("out_of_memory", memory_words(limit_bytes, used_bytes)) if used_bytes > limit_bytes else None

    def _disk(self) -> tuple[str, str] | None:
        limit_bytes = self._limits.asked.get("disk_bytes")
        used_bytes = disk_bytes(self._folder)
        if limit_bytes and used_bytes > limit_bytes:
            text = f"its folder takes {size(used_bytes)} of disk, more than its limit of {size(limit_bytes)}"
            return "disk_quota", f"{text}: ask for more with resources.disk, or write less"
        if not is_full(self._folder):
            self._used_bytes = used_bytes
        elif used_bytes > self._used_bytes + GROWN_BYTES:
            text = f"it wrote {size(used_bytes - self._used_bytes)} into its folder until no room was left"
            return "disk_full", f"{text}: {full_words(self._folder)}"
        return None

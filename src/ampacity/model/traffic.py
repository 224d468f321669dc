"""How requests to a model are spread and kept alive."""

from __future__ import annotations

from enum import StrEnum


class Resume(StrEnum):
    """Which streams another engine may go on with when theirs dies: what the engines understand."""

    ALL = "all"
    COMPLETIONS = "completions"
    NONE = "none"

    def covers(self, *, chat: bool) -> bool:
        return self is Resume.ALL or (self is Resume.COMPLETIONS and not chat)

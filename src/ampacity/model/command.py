"""What runs as a member: made by ``training`` and ``serving`` from a spec, handed to a driver by ``control``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``argv`` and the values of ``env`` may name the member's private folder as ``{member_dir}`` and, in ``argv``,
    its port as ``{port}``. ``files`` are written into that folder first. ``port``: ``None`` = none, 0 = a free one."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None

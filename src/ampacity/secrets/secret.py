"""The noun: what is known of a secret without its value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.ids import Project

MAX_VALUE_BYTES = 64 << 10
"""A variable of a process may have 128 KiB (MAX_ARG_STRLEN of Linux)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret of a project. ``changed_at`` in seconds since the epoch; ``by`` set it last."""

    project: Project
    name: str
    changed_at: float
    by: str


def check_name(name: str) -> str:
    """The name, which is that of a variable. Raises ``InvalidSpec``."""
    if not _NAME.fullmatch(name) or name.startswith("AMPACITY_"):
        raise InvalidSpec(
            f"{name!r} cannot be the name of a secret.",
            where=Where(key="name"),
            hint="Use letters, digits and '_', such as HF_TOKEN; AMPACITY_ is the platform's own.",
        )
    return name


def check_value(value: bytes) -> bytes:
    """Raises ``InvalidSpec``, which does not repeat the value."""
    if not value:
        raise InvalidSpec("The value is empty.", where=Where(key="value"), hint="Remove a secret with `rm`.")
    if len(value) > MAX_VALUE_BYTES:
        message = f"The value has {len(value)} bytes, and {MAX_VALUE_BYTES} is the most."
        raise InvalidSpec(message, where=Where(key="value"), hint="Keep large files elsewhere, and their key here.")
    return value

"""Text as NVML's binding gives it: bytes in some releases."""

from __future__ import annotations


def text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

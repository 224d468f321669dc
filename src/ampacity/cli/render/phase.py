"""The words for how something is, in their colours."""

from __future__ import annotations

from rich.text import Text

_STYLES = {
    "waiting": "yellow",
    "preparing": "yellow",
    "stopping": "yellow",
    "running": "green",
    "ready": "green",
    "succeeded": "cyan",
    "failed": "red",
    "lost": "red",
    "cordoned": "yellow",
    "unknown": "red",
    "cancelled": "bright_black",
}


def phase_text(phase: str) -> Text:
    return Text(str(phase), style=_STYLES.get(str(phase), ""))

"""The answer to ``why``."""

from __future__ import annotations

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from ampacity.model.view import StoryKind, Why

_STYLES = {StoryKind.WAITING: "bold yellow", StoryKind.RUNNING: "bold green", StoryKind.ENDED: "bold"}


def why_text(why: Why) -> Group:
    """The headline, the facts behind it, what would change it, and the last that the process said."""
    parts: list[Text | Padding] = [Text(why.headline, style=_STYLES[why.kind])]
    parts += [Padding(Text(line), (0, 0, 0, 2)) for line in why.lines]
    if why.change:
        parts += [Text(), Text.assemble(("What would change it: ", "dim"), why.change)]
    if why.last_lines:
        parts += [Text(), Text("Its last lines:", style="dim")]
        parts += [Text.assemble(("  | ", "dim"), Text.from_ansi(line)) for line in why.last_lines]
    return Group(*parts)

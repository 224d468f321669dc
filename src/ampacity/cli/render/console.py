"""The consoles: colours and the terminal's width on a terminal; plain and not cut when the output goes elsewhere."""

from __future__ import annotations

import io
import sys
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

UNCUT_COLUMNS = 10_000


def out() -> Console:
    """For answers."""
    return _console(sys.stdout)


def err() -> Console:
    """For what is said beside an answer."""
    return _console(sys.stderr)


def show(*renderables: RenderableType) -> None:
    """Print an answer. Where it is not a terminal, lines have no blanks at their ends."""
    console = out()
    if console.is_terminal:
        console.print(*renderables, sep="\n")
        return
    text = io.StringIO()
    plain = Console(file=text, width=UNCUT_COLUMNS, color_system=None, **_SETTINGS)
    plain.print(*renderables, sep="\n")
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def tell(message: str, *, style: str = "") -> None:
    """One line on stderr, beside the answer."""
    err().print(Text(message, style=style), soft_wrap=True)


_SETTINGS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else UNCUT_COLUMNS
    return Console(file=file, width=width, **_SETTINGS)

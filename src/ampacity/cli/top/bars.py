"""Bars and sparklines in block characters, an eighth of a cell fine."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

EIGHTHS = " ▏▎▍▌▋▊▉█"
SPARKS = "▁▂▃▄▅▆▇█"
EMPTY = "─"


def bar(part: float | None, width: int, *, style: str) -> Text:
    """A bar that is full at 1; a dim line where the value is not known."""
    if part is None:
        return Text(EMPTY * width, style="bright_black")
    filled = round(min(1.0, max(0.0, part)) * width * 8)
    whole, rest = divmod(filled, 8)
    text = Text("█" * whole, style=style)
    if rest:
        text.append(EIGHTHS[rest], style=style)
    return text.append(EMPTY * (width - whole - (1 if rest else 0)), style="bright_black")


def spark(points: Sequence[float | None], width: int, *, top: float, style: str) -> Text:
    """The newest points, one a cell; ``top`` fills a cell. Where nothing was seen it is blank."""
    newest = list(points)[-width:]
    cells = "".join(" " if value is None else _spark(value / top if top > 0 else 0.0) for value in newest)
    return Text(cells.rjust(width), style=style)


def level(part: float | None, *, high: float = 0.85, highest: float = 0.95) -> str:
    """Green, then yellow, then red: for what one should not run out of."""
    if part is None or part < high:
        return "green"
    return "yellow" if part < highest else "red"


def _spark(part: float) -> str:
    return SPARKS[min(len(SPARKS) - 1, max(0, int(part * len(SPARKS))))]

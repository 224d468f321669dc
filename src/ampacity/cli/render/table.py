"""The one look of all tables: no lines, quiet headings, columns two blanks apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

GAP = 2
NARROWEST = 8


@dataclass(frozen=True, slots=True)
class Column:
    """``right``: numbers. ``gives``: becomes narrower first where the terminal is narrow."""

    heading: str
    right: bool = False
    gives: bool = False


class Listing:
    """Rows under headings; columns in which nothing stands are left out.

    ``note`` (a heading) stands in a last column where that fits for all rows, else each note on a line of its own below
    its row: notes are sentences, and they are never cut.
    """

    def __init__(self, columns: Sequence[Column], *, note: str = "") -> None:
        self._columns = tuple(columns)
        self._note = note
        self._rows: list[tuple[list[Text], Text]] = []

    def add(self, *cells: Text | str, note: Text | str = "") -> None:
        assert len(cells) == len(self._columns), "a cell for each column"
        self._rows.append(([_text(cell) for cell in cells], _text(note)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = [n for n in range(len(self._columns)) if any(cells[n].plain for cells, _ in self._rows)]
        longest = max((cell_len(note.plain) for _, note in self._rows), default=0)
        if not longest:
            yield self._table(shown, options.max_width)
        elif self._natural_width(shown) + GAP + max(longest, len(self._note)) <= options.max_width:
            yield self._table(shown, options.max_width, notes=True)
        else:
            lines = console.render_lines(self._table(shown, options.max_width), options, pad=False)
            for line, (_, note) in zip(lines, [([], Text()), *self._rows], strict=True):
                yield from line
                yield Segment.line()
                if note.plain:
                    yield Padding(note, (0, 0, 0, 2), expand=False)

    def _table(self, shown: Sequence[int], max_width: int, *, notes: bool = False) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_edge=False)
        for n, width in zip(shown, self._widths(shown, max_width), strict=True):
            justify: JustifyMethod = "right" if self._columns[n].right else "left"
            table.add_column(self._columns[n].heading, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
        if notes:
            table.add_column(self._note, no_wrap=True)
        for cells, note in self._rows:
            table.add_row(*(cells[n] for n in shown), *([note] if notes else []))
        return table

    def _widths(self, shown: Sequence[int], max_width: int) -> list[int]:
        """As wide as their cells; where that is too much, the widest of those that give become narrower."""
        widths = {n: self._widest(n) for n in shown}
        too_much = self._natural_width(shown) - max_width
        while too_much > 0:
            giving = [n for n in shown if self._columns[n].gives and widths[n] > NARROWEST]
            if not giving:
                break
            widths[max(giving, key=lambda n: widths[n])] -= 1
            too_much -= 1
        return list(widths.values())

    def _natural_width(self, shown: Sequence[int]) -> int:
        return sum(self._widest(n) for n in shown) + GAP * (len(shown) - 1)

    def _widest(self, n: int) -> int:
        return max(cell_len(text) for text in [self._columns[n].heading, *(cells[n].plain for cells, _ in self._rows)])


def pairs() -> Table:
    """An empty table of names and values."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False, show_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _text(cell: Text | str) -> Text:
    return Text(cell) if isinstance(cell, str) else cell

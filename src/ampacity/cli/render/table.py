"""The one look of all tables: no lines, quiet headings, columns two blanks apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

GAP = 2


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
        table = self._table()
        has_notes = any(note.plain for _, note in self._rows)
        if not has_notes:
            yield table
            return
        longest = max(cell_len(note.plain) for _, note in self._rows)
        if console.measure(table).maximum + longest <= options.max_width:
            yield self._table(notes=True)
            return
        lines = console.render_lines(table, options, pad=False)
        for line, (_, note) in zip(lines, [([], Text()), *self._rows], strict=True):
            yield from line
            yield Segment.line()
            if note.plain:
                yield Padding(note, (0, 0, 0, 2), expand=False)

    def _table(self, *, notes: bool = False) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_edge=False)
        shown = [n for n in range(len(self._columns)) if any(cells[n].plain for cells, _ in self._rows)]
        for n in shown:
            column = self._columns[n]
            widest = max(cell_len(text) for text in [column.heading, *(cells[n].plain for cells, _ in self._rows)])
            table.add_column(
                column.heading,
                justify="right" if column.right else "left",
                no_wrap=True,
                overflow="ellipsis",
                min_width=min(widest, 8) if column.gives else widest,
            )
        if notes:
            table.add_column(self._note, no_wrap=True)
        for cells, note in self._rows:
            table.add_row(*(cells[n] for n in shown), *([note] if notes else []))
        return table


def pairs() -> Table:
    """An empty table of names and values."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False, show_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _text(cell: Text | str) -> Text:
    return Text(cell) if isinstance(cell, str) else cell

"""The one look of all tables: no lines, quiet headings, columns two blanks apart."""

from __future__ import annotations

from rich.table import Table


def listing(*headings: str, right: tuple[str, ...] = (), fold: str = "") -> Table:
    """An empty table. ``right``: headings of number columns; ``fold``: the column that may take several lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in right else "left",
            no_wrap=heading != fold,
            overflow="fold" if heading == fold else "ellipsis",
        )
    return table


def pairs() -> Table:
    """An empty table of names and values."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table

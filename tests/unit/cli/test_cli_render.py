"""How it looks: narrow terminals, colours where they belong, the line that says what is waited for."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from cli_nouns import NOW
from rich.console import Console
from rich.text import Text

from ampacity.cli.render.events import event_line
from ampacity.cli.render.logs import LogPrinter
from ampacity.cli.render.status_line import StatusLine
from ampacity.cli.render.table import Column, Listing
from ampacity.model.event import EventKind
from ampacity.model.view import EventView, LogRecord


def on_terminal(width: int, renderable: Any) -> str:
    """Its text on a terminal of that many columns, without colours."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False).print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def listing() -> Listing:
    table = Listing([Column("NAME", gives=True), Column("EMPTY"), Column("N", right=True)], note="NOTE")
    table.add("short", "", "1", note="because of a reason")
    table.add("a-rather-long-name", "", "22")
    return table


def test_a_listing_leaves_out_what_is_empty() -> None:
    assert on_terminal(80, listing()) == (
        "NAME                 N  NOTE\n"
        "short                1  because of a reason\n"
        "a-rather-long-name  22\n"
    )  # fmt: skip


def test_notes_that_do_not_fit_stand_below_and_are_never_cut() -> None:
    assert on_terminal(30, listing()) == (
        "NAME                 N\n"
        "short                1\n"
        "  because of a reason\n"
        "a-rather-long-name  22\n"
    )  # fmt: skip
    assert on_terminal(18, listing()) == (
        "NAME             N\n"
        "short            1\n"
        "  because of a\n"
        "  reason\n"
        "a-rather-long…  22\n"
    )  # fmt: skip


def test_a_listing_is_right_with_wide_characters() -> None:
    table = Listing([Column("NAME"), Column("N")])
    table.add("模型", "1")
    table.add("abc", Text("2", style="red"))
    assert on_terminal(40, table) == "NAME  N\n模型  1\nabc   2\n"


RECORD = LogRecord(at=NOW, replica=1, epoch=1, member=0, rank=2, stream="out", text="x")


def test_each_rank_has_a_colour_of_its_own() -> None:
    from dataclasses import replace

    printer = LogPrinter(replicas=False, ranks=True, members=False)
    lines = {printer.text(replace(RECORD, rank=rank), colours=True).split("rank")[0] for rank in range(4)}
    assert len(lines) == 4
    assert printer.text(RECORD, colours=False) == "rank 2 | x"


def test_a_replicas_ranks_name_both() -> None:
    printer = LogPrinter(replicas=True, ranks=True, members=False)
    assert printer.text(RECORD, colours=False) == "replica 1 rank 2 | x"


def test_event_lines_have_colours_only_where_told() -> None:
    event = EventView(
        seq=7, at=NOW, kind=EventKind.ATTEMPT_READY, text="a\nb", project="p", owner="o", actor="a"
    )  # fmt: skip
    assert event_line(event, now=NOW, colours=False).endswith("  attempt.ready       a b")
    assert "\x1b[32m" in event_line(event, now=NOW, colours=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_status_line_is_rewritten_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    line = StatusLine()
    line.show("waits: " + "x" * 40)
    line.show("runs")
    line.clear()
    shown = terminal.getvalue().split("\r\x1b[2K")
    assert shown == ["", "waits: " + "x" * 11 + "…", "runs", ""]
    assert len(shown[1]) < 20


def test_the_status_line_is_printed_once_for_each_change_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = StatusLine()
    for text in ("waits: a", "waits: a", "waits:\n  b"):
        line.show(text)
    line.clear()
    assert capsys.readouterr().err == "waits: a\nwaits: b\n"


def test_errors_are_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from ampacity.cli.failure import say

    for no_color, expected in (("", "\x1b[31m\x1b[1merror:\x1b[0m It is."), ("1", "error: It is.")):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        monkeypatch.setenv("NO_COLOR", no_color)
        say("x", "It is.", "", as_json=False)
        assert terminal.getvalue() == f"{expected}\n"


def test_lines_after_the_first_of_an_error_stand_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    from ampacity.cli.failure import say

    say("x", "one\ntwo", "three\nfour", as_json=False)
    assert capsys.readouterr().err == "error: one\n       two\n hint: three\n       four\n"

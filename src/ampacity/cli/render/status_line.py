"""One line on stderr about what is being waited for: rewritten in place on a terminal, else printed when it changes."""

from __future__ import annotations

import os
import shutil
import sys

import click


class StatusLine:
    def __init__(self) -> None:
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = ""

    def show(self, text: str) -> None:
        text = " ".join(text.split())
        if text == self._shown:
            return
        self._shown = text
        if not self.live:
            print(text, file=sys.stderr, flush=True)
            return
        columns = shutil.get_terminal_size().columns
        cut = text if len(text) < columns else text[: max(1, columns - 2)] + "…"
        styled = cut if os.environ.get("NO_COLOR") else click.style(cut, dim=True)
        sys.stderr.write(f"\r\x1b[2K{styled}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take it away again, so that other lines can be printed."""
        if self.live and self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
        self._shown = ""

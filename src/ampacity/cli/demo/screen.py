"""The demo on a terminal: headings, remarks, streamed text, and a progress bar where there is a terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn


class TerminalScreen:
    """Writes with rich; in a pipe the bar becomes a line every tenth of the way."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._tenth = -1

    def part(self, name: str) -> None:
        self.close()
        self.console.print(f"\n[dim]{time.monotonic() - self._began:6.1f} s[/dim]  [bold]{escape(name)}[/bold]")

    def say(self, text: str) -> None:
        self._console().print(f"          {escape(text)}", soft_wrap=True, highlight=False)

    def piece(self, text: str) -> None:
        self.close()
        self.console.print(f"[cyan]{escape(text)}[/cyan]", end="", soft_wrap=True, highlight=False)

    def progress(self, done: int, total: int, text: str) -> None:
        if not self.console.is_terminal:
            self._step(done, total, text)
            return
        if self._bar is None:
            columns = (
                TextColumn("          step {task.completed}/{task.total}"),
                BarColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task(text, total=total)
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=done, description=text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._tenth = -1

    def _step(self, done: int, total: int, text: str) -> None:
        if done * 10 // total != self._tenth:
            self._tenth = done * 10 // total
            self.say(f"step {done}/{total}  {text}")

    def _console(self) -> Console:
        return self._bar.console if self._bar is not None else self.console

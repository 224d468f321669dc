"""Following a job: its output as it comes, why it waits until then, and its exit code at the end."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ampacity.cli.failure import INTERRUPTED
from ampacity.cli.render.console import tell
from ampacity.cli.render.status_line import StatusLine
from ampacity.cli.render.units import about_duration
from ampacity.cli.render.workloads import last_attempt, lasted_s
from ampacity.control.words import cause_words
from ampacity.model.errors import Conflict
from ampacity.model.view import LogRecord, WorkloadView
from ampacity.model.workload import WorkloadPhase

if TYPE_CHECKING:
    from ampacity.client import Client

LOOK_EVERY_S = 1.0
"""How often a job that has not printed anything is asked why."""

SETTLE_S = 20.0
"""How long the end of the output may be ahead of the end of the workload."""


class Feed:
    """Reads the output in a thread of its own, so that Ctrl-C interrupts the reader and not the reading."""

    def __init__(self, client: Client, ref: str, *, tail: int | None = None) -> None:
        self._items: queue.SimpleQueue[LogRecord | Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, args=(client, ref, tail), daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> LogRecord | None:
        """The next line. Raises ``queue.Empty``, ``EOFError`` after the last, and what the reading raised."""
        item = self._items.get(timeout=timeout_s)
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise EOFError
        return item

    def _read(self, client: Client, ref: str, tail: int | None) -> None:
        try:
            for record in client.logs(ref, follow=True, tail=tail):
                self._items.put(record)
        except Exception as error:  # noqa: BLE001 - it is raised again in the thread that asked
            self._items.put(error)
        else:
            self._items.put(None)


class Follower:
    """Follows one workload. ``write`` prints a line of its output; ``quiet``: say nothing beside it."""

    def __init__(
        self, client: Client, view: WorkloadView, write: Callable[[LogRecord], None], *, quiet: bool = False
    ) -> None:
        self._client = client
        self._view = view
        self._write = write
        self._quiet = quiet
        self._line = StatusLine()
        self._stopped = False

    def follow(self, *, tail: int | None = None) -> int:
        """To its end, or until the user lets it go. The exit code: the job's own, or 130."""
        feed = Feed(self._client, self._view.workload.id, tail=tail)
        while True:
            try:
                self._pass_on(feed)
                break
            except KeyboardInterrupt:
                self._line.clear()
                if self._asked_to_leave():
                    return INTERRUPTED
        self._line.clear()
        view = self._client.wait(self._view.workload.id, SETTLE_S)
        if not self._quiet:
            say_end(view)
        return INTERRUPTED if self._stopped and view.workload.phase is WorkloadPhase.CANCELLED else exit_code(view)

    def _pass_on(self, feed: Feed) -> None:
        look_at = time.monotonic() + LOOK_EVERY_S
        silent = True
        while True:
            try:
                record = feed.next(max(0.05, look_at - time.monotonic()) if silent else LOOK_EVERY_S)
            except queue.Empty:
                sys.stdout.flush()
                if silent and not self._quiet:
                    self._say_why_silent()
                look_at = time.monotonic() + LOOK_EVERY_S
            except EOFError:
                sys.stdout.flush()
                return
            else:
                if silent:
                    self._line.clear()
                silent = False
                assert record is not None
                self._write(record)
                if sys.stdout.isatty():
                    sys.stdout.flush()

    def _say_why_silent(self) -> None:
        """While it waits for a place, why; while it is being prepared, that; once it runs, nothing."""
        view = self._client.workload(self._view.workload.id)
        name = view.workload.name
        if view.workload.phase is WorkloadPhase.WAITING:
            reason = view.waits[0].text if view.waits else view.workload.note
            self._line.show(f"{name} waits: {reason}" if reason else f"{name} waits")
        else:
            self._line.clear()

    def _asked_to_leave(self) -> bool:
        """After Ctrl-C. ``True`` = leave it running; ``False`` = go on following (it was told to stop)."""
        name = self._view.workload.name
        if self._stopped or not (sys.stdin.isatty() and sys.stderr.isatty()):
            self._say_left(name)
            return True
        try:
            click.echo(err=True)
            question = f"Stop {name}, or keep it running?"
            choice = click.prompt(
                question, type=click.Choice(["stop", "keep"]), default="keep", err=True, show_choices=True
            )
        except (KeyboardInterrupt, click.Abort):
            click.echo(err=True)
            choice = "keep"
        if choice == "keep":
            self._say_left(name)
            return True
        with contextlib.suppress(Conflict):  # it has ended meanwhile: its own end is shown
            self._client.stop(self._view.workload.id)
        self._stopped = True
        return False

    def _say_left(self, name: str) -> None:
        tell(f"{name} runs on. `ampacity attach {name}` follows it again, `ampacity stop {name}` stops it.")


def exit_code(view: WorkloadView) -> int:
    """The job's: its process's own, 128 + the signal that ended it, 1 for any other failure."""
    if view.workload.phase is WorkloadPhase.SUCCEEDED:
        return 0
    attempt = last_attempt(view)
    cause = None if attempt is None else attempt.cause
    if cause is None:
        return 1
    if cause.exit_code:
        return cause.exit_code
    return 128 + cause.signal if cause.signal else 1


def say_end(view: WorkloadView) -> None:
    """On stderr how it ended. A success is worth a line on a terminal only."""
    workload, name = view.workload, view.workload.name
    took = about_duration(lasted_s(view, now=time.time()))
    if workload.phase is WorkloadPhase.SUCCEEDED:
        if sys.stderr.isatty():
            tell(f"{name} succeeded after {took}.", style="dim")
        return
    attempt = last_attempt(view)
    if workload.phase is WorkloadPhase.CANCELLED:
        tell(f"{name} was stopped after {took}.")
        return
    cause = cause_words(None if attempt is None else attempt.cause).removesuffix(".")
    tell(f"{name} failed after {took}: {cause}. See `ampacity why {name}`.", style="red")

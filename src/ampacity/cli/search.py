"""``ampacity logs --search``: what was found, as it is printed."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ampacity.cli.session import Session
from ampacity.model.errors import InvalidSpec, Where

if TYPE_CHECKING:
    from ampacity.cli.render.logs import LogPrinter
    from ampacity.client import Client
    from ampacity.model.view import LogHit

BETWEEN = "--"


def search_logs(
    session: Session,
    pattern: str,
    name: str | None,
    *,
    rank: int | None,
    replica: int | None,
    timestamps: bool,
    fixed: bool,
    ignore_case: bool,
    context: int | None,
    since: str | None,
    limit: int | None,
) -> None:
    """Print the lines that match, as the control plane finds them; of several workloads with their names."""
    from ampacity.cli.answer import print_line
    from ampacity.cli.render.console import tell

    begin = None if since is None else read_since(since, now=time.time())
    with session.client() as client:
        page = _Page(
            client, names=name is None, timestamps=timestamps, highlight=highlighter(pattern, fixed, ignore_case)
        )
        found = 0
        for hit in client.search_logs(
            pattern,
            ref=name,
            fixed=fixed,
            ignore_case=ignore_case,
            context=context or 0,
            since=begin,
            rank=rank,
            replica=replica,
            limit=limit,
        ):
            found += hit.matched
            if session.json:
                print_line(hit)
            else:
                page.put(hit, groups=bool(context))
    if not found and not session.json:
        tell("No line matches.")


class _Page:
    """Lines one below the other; groups of context with a line between them."""

    def __init__(self, client: Client, *, names: bool, timestamps: bool, highlight: Callable[[str], str]) -> None:
        self._client, self._names, self._timestamps, self._highlight = client, names, timestamps, highlight
        self._printers: dict[str, LogPrinter] = {}
        self._group = 0
        self._colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def put(self, hit: LogHit, *, groups: bool) -> None:
        if groups and self._group not in (0, hit.group):
            click.echo(click.style(BETWEEN, dim=True) if self._colours else BETWEEN)
        self._group = hit.group
        highlight = self._highlight if hit.matched else None
        line = self._printer(hit.workload).text(hit.record, colours=self._colours, highlight=highlight)
        name = f"{hit.name}: " if self._names else ""
        click.echo(f"{click.style(name, fg='magenta') if name and self._colours else name}{line}")

    def _printer(self, workload: str) -> LogPrinter:
        from ampacity.cli.render.logs import printer_for

        if workload not in self._printers:
            self._printers[workload] = printer_for(self._client.workload(workload), timestamps=self._timestamps)
        return self._printers[workload]


def highlighter(pattern: str, fixed: bool, ignore_case: bool) -> Callable[[str], str]:
    """Colours what matches. A pattern that is no regular expression colours nothing: the control plane says why."""
    try:
        found = re.compile(re.escape(pattern) if fixed else pattern, re.IGNORECASE if ignore_case else 0)
    except re.error:
        return str
    return lambda text: found.sub(lambda match: click.style(match[0], fg="red", bold=True) if match[0] else "", text)


def read_since(text: str, *, now: float) -> float:
    """Seconds since the epoch: so long ago (``10m``), or at a time (``2026-05-01T12:00``, local where it has no zone).

    Raises:
        InvalidSpec: it is neither.
    """
    from ampacity.model.quantities import parse_duration

    try:
        return now - parse_duration(text)
    except InvalidSpec:
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            hint = "Write 10m, 2h or 3d, or a time such as 2026-05-01T12:00."
            raise InvalidSpec(
                f"{text!r} is neither a duration nor a time.", where=Where(key="since"), hint=hint
            ) from None

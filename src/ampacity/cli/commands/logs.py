"""``ampacity logs``: a workload's output."""

from __future__ import annotations

import sys
from typing import Any

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("name", type=WORKLOAD, required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the workload has ended.")
@click.option("--rank", type=click.IntRange(min=0), help="Only of this rank.")
@click.option("--replica", type=click.IntRange(min=0), help="Only of this replica.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of what there is.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time (UTC).")
@click.option("--search", "pattern", metavar="REGEX", help="Only lines that match; without NAME of all workloads.")
@click.option("-F", "--fixed", is_flag=True, help="With --search: it is plain text.")
@click.option("-i", "--ignore-case", is_flag=True, help="With --search: upper and lower case are alike.")
@click.option("-C", "--context", type=click.IntRange(0, 1000), metavar="N", help="With --search: N lines around each.")
@click.option("--since", metavar="TIME", help="With --search: the last 10m, 2h, 3d …, or since a time (ISO 8601).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="With --search: at most N matches.")
@verb
def command(
    session: Session,
    /,
    name: str | None,
    follow: bool,
    rank: int | None,
    replica: int | None,
    tail: int | None,
    timestamps: bool,
    pattern: str | None,
    **search: Any,
) -> None:
    """Show the output of all attempts of a workload, in the order of time, or search it."""
    if pattern is not None:
        if follow or tail is not None:
            raise click.UsageError("--search goes with neither --follow nor --tail.")
        from ampacity.cli.search import search_logs

        search_logs(session, pattern, name, rank=rank, replica=replica, timestamps=timestamps, **search)
        return
    if name is None:
        raise click.UsageError("Give the name of a workload, or --search to look in all of them.")
    if any(search.values()):
        raise click.UsageError("--fixed, --ignore-case, --context, --since and --limit go with --search.")
    from ampacity.cli.answer import print_line
    from ampacity.cli.render.logs import printer_for

    with session.client() as client:
        view = client.workload(name)
        printer = printer_for(view, timestamps=timestamps)
        ident = view.workload.id
        for record in client.logs(ident, follow=follow, tail=tail, rank=rank, replica=replica):
            if session.json:
                print_line(record)
                continue
            printer.write(record)
            if follow:
                sys.stdout.flush()

"""``ampacity logs``: a workload's output."""

from __future__ import annotations

import sys

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("name", type=WORKLOAD)
@click.option("-f", "--follow", is_flag=True, help="Go on until the workload has ended.")
@click.option("--rank", type=click.IntRange(min=0), help="Only of this rank.")
@click.option("--replica", type=click.IntRange(min=0), help="Only of this replica.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of what there is.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time (UTC).")
@verb
def command(
    session: Session,
    name: str,
    follow: bool,
    rank: int | None,
    replica: int | None,
    tail: int | None,
    timestamps: bool,
) -> None:
    """Show the output of all attempts of a workload, in the order of time."""
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

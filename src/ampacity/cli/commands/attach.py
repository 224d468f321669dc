"""``ampacity attach``: follow a job that runs already."""

from __future__ import annotations

import sys

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("name", type=WORKLOAD)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Of what it has printed only the last N lines.")
@click.option("--shell", is_flag=True, help="A shell inside the job instead: `exec -it NAME -- bash`.")
@verb
def command(session: Session, name: str, tail: int | None, shell: bool) -> None:
    """Follow a job's output from its beginning, and return its exit code.

    Ctrl-C asks whether to stop the job; Ctrl-C again leaves it running.
    """
    if shell:
        from ampacity.cli.commands.exec import SHELL, run_inside

        sys.exit(run_inside(session, name, SHELL, interactive=True, tty=True, replica=0, member=0))
    from ampacity.cli.job import follow_to_end

    with session.client() as client:
        code = follow_to_end(session, client, client.workload(name), tail=tail)
    sys.exit(code)

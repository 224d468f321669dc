"""``ampacity why``: why it waits, runs or ended as it did."""

from __future__ import annotations

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("name", type=WORKLOAD)
@verb
def command(session: Session, name: str) -> None:
    """Say why a workload waits and what would let it start, how it runs, or why it ended."""
    from ampacity.cli.answer import print_json

    with session.client() as client:
        why = client.why(name)
    if session.json:
        print_json(why)
        return
    from ampacity.cli.render.console import show
    from ampacity.cli.render.why import why_text

    show(why_text(why))

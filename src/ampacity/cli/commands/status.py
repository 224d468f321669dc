"""``ampacity status``: the control plane at a glance."""

from __future__ import annotations

import time

import click

from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@verb
def command(session: Session) -> None:
    """Show the control plane: where it answers, what runs, and what its nodes have."""
    from ampacity.cli.answer import plain, print_json

    with session.client() as client:
        status = client.status()
        nodes = client.nodes()
    if session.json:
        print_json({**plain(status), "node_views": plain(nodes)})
        return
    from ampacity.cli.render.console import show
    from ampacity.cli.render.status import status_table

    show(status_table(status, nodes, now=time.time()))

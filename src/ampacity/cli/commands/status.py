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
    from ampacity.cli.glance import glance

    with session.client() as client:
        seen = glance(client)
    if session.json:
        print_json({**plain(seen.status), "endpoint_ready": seen.endpoint_ready, "node_views": plain(seen.nodes)})
        return
    from ampacity.cli.render.console import show
    from ampacity.cli.render.status import status_table

    show(status_table(seen, now=time.time()))

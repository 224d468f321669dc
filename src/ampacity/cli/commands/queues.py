"""``ampacity queues``: who may use how much, and who does."""

from __future__ import annotations

import click

from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@verb
def command(session: Session) -> None:
    """Show the queue tree: shares, quotas, what is used, borrowed and lent, and what waits.

    `ampacity apply queues.yaml` changes it.
    """
    from ampacity.cli.answer import print_json

    with session.client() as client:
        tree = client.queues()
    if session.json:
        print_json(tree)
        return
    from ampacity.cli.render.console import show
    from ampacity.cli.render.queues import queues_table

    show(queues_table(tree))

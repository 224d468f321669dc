"""``ampacity scale``: the number of a service's replicas."""

from __future__ import annotations

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("name", type=WORKLOAD)
@click.argument("replicas", type=click.IntRange(min=0), metavar="N")
@verb
def command(session: Session, name: str, replicas: int) -> None:
    """Wish for N replicas of a service. Those that are too many end after what they are doing."""
    from ampacity.cli.answer import print_json

    with session.client() as client:
        view = client.scale(name, replicas)
    if session.json:
        print_json(view)
        return
    plural = "replica" if view.desired.replicas == 1 else "replicas"
    click.echo(f"{view.workload.name}: {view.desired.replicas} {plural} wished for")

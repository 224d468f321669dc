"""``ampacity scale``: the number of a service's replicas, or of a train's nodes."""

from __future__ import annotations

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("name", type=WORKLOAD)
@click.argument("replicas", type=click.IntRange(min=0), metavar="N", required=False)
@click.option("--nodes", type=click.IntRange(min=0), metavar="N", help="of an elastic train; 0: as its file says")
@verb
def command(session: Session, name: str, replicas: int | None, nodes: int | None) -> None:
    """Wish for N replicas of a service, or for so many nodes of an elastic train.

    Replicas that are too many end after what they are doing. A train saves its state and goes on with it: on fewer
    nodes at once, on more when there is room that nobody waits for.
    """
    from ampacity.cli.answer import print_json

    if (replicas is None) == (nodes is None):
        raise click.UsageError("Give the number of replicas, or of nodes with --nodes.")
    with session.client() as client:
        view = client.scale(name, replicas) if replicas is not None else client.resize(name, nodes or 0)
    if session.json:
        print_json(view)
        return
    if nodes is not None:
        size = view.desired.size
        wished = "as many nodes as its file says" if size is None else f"{size} node{'' if size == 1 else 's'}"
        click.echo(f"{view.workload.name}: {wished} wished for")
        return
    plural = "replica" if view.desired.replicas == 1 else "replicas"
    click.echo(f"{view.workload.name}: {view.desired.replicas} {plural} wished for")

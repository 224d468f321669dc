"""``ampacity nodes``: the machines."""

from __future__ import annotations

import time

import click

from ampacity.cli.names import NODE
from ampacity.cli.session import Session, VerbGroup, verb


@click.group(cls=VerbGroup)
@click.pass_context
def group(ctx: click.Context) -> None:
    """List the nodes: what they have and what of it is given out."""
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(Session))


@group.command("list")
@verb
def list_nodes(session: Session) -> None:
    """List the nodes."""
    _list(session)


@group.command()
@click.argument("name", type=NODE)
@verb
def cordon(session: Session, name: str) -> None:
    """Place nothing new on a node. What runs there, runs on."""
    _set(session, name, cordoned=True)


@group.command()
@click.argument("name", type=NODE)
@verb
def uncordon(session: Session, name: str) -> None:
    """Let a node be used again."""
    _set(session, name, cordoned=False)


def _list(session: Session) -> None:
    from ampacity.cli.answer import print_json

    with session.client() as client:
        views = client.nodes()
    if session.json:
        print_json({"nodes": views})
        return
    from ampacity.cli.render.console import show, tell
    from ampacity.cli.render.nodes import nodes_table

    if not views:
        tell("No nodes yet.", style="dim")
        return
    show(nodes_table(views, now=time.time()))


def _set(session: Session, name: str, *, cordoned: bool) -> None:
    from ampacity.cli.answer import print_json
    from ampacity.model.node import NodeCondition

    with session.client() as client:
        view = client.set_condition(name, NodeCondition.CORDONED if cordoned else NodeCondition.READY)
    if session.json:
        print_json(view)
        return
    running = len(view.attempts)
    still = f"; what runs there ({running}) runs on" if cordoned and running else ""
    click.echo(f"{view.node.id}: {view.node.condition}{still}")

"""``ampacity nodes``: the machines."""

from __future__ import annotations

import time
from collections.abc import Mapping

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
def show(session: Session, name: str) -> None:
    """Show what a node is made of: its devices, the links between them, and the network that is nearest to each; and
    where it stands: its place in each tree, its feed, its volumes."""
    from ampacity.cli.answer import print_json
    from ampacity.model.errors import NotFound

    with session.client() as client:
        views, site = client.nodes(), client.topology()
    view = next((each for each in views if each.node.id == name), None)
    if view is None:
        raise NotFound(f"There is no node {name!r}.", hint="`ampacity nodes` lists them.")
    if session.json:
        from ampacity.cli.render.node_parts import nearest_network, standing

        print_json({"node": view, "nearest": nearest_network(view.node), "site": standing(view.node, site)})
        return
    from ampacity.cli.render.console import show as print_out
    from ampacity.cli.render.node_parts import device_lines, devices_table, machine_lines, standing_lines

    for line in (*machine_lines(view.node), *standing_lines(view.node, site)):
        click.echo(line)
    if view.node.devices:
        print_out(devices_table(view.node))
    for line in device_lines(view.node):
        click.echo(line)


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


@group.command()
@click.argument("name", type=NODE)
@click.argument("marks", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@verb
def label(session: Session, name: str, marks: tuple[str, ...]) -> None:
    """Give a node labels, which workloads select: `label n1 zone=a disk=nvme`. `zone-` takes one off."""
    _mark(session, name, labels=_marks(marks, needs_value=True))


@group.command()
@click.argument("name", type=NODE)
@click.argument("marks", nargs=-1, required=True, metavar="KEY[=VALUE]|KEY-...")
@verb
def taint(session: Session, name: str, marks: tuple[str, ...]) -> None:
    """Keep work off a node that does not tolerate it: `taint n1 team=vision`. `team-` takes one off.

    What runs there, runs on.
    """
    _mark(session, name, taints=_marks(marks, needs_value=False))


def _marks(texts: tuple[str, ...], *, needs_value: bool) -> dict[str, str | None]:
    from ampacity.cli.failure import Usage

    found: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals and text.endswith("-") and len(text) > 1:
            found[text[:-1]] = None
        elif (equals and not value) or (needs_value and not equals):
            raise Usage(f"{text!r} has no value.", hint=f"Write {key}=VALUE, or {key}- to take it off.")
        else:
            found[key] = value
    return found


def _mark(
    session: Session, name: str, *, labels: Mapping[str, str | None] = {}, taints: Mapping[str, str | None] = {}
) -> None:
    from ampacity.cli.answer import print_json
    from ampacity.cli.render.nodes import marks_text

    with session.client() as client:
        view = client.mark_node(name, labels=labels, taints=taints)
    if session.json:
        print_json(view)
        return
    click.echo(f"{view.node.id}: {marks_text(view.node) or 'no labels and no taints'}")


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

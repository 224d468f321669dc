"""``ampacity stop``: stop workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.client import Client
    from ampacity.model.view import WorkloadView


@click.command(cls=VerbCommand)
@click.argument("names", nargs=-1, required=True, type=WORKLOAD, metavar="NAME...")
@click.option("--wait", is_flag=True, help="Return when they have ended.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer.")
@verb
def command(session: Session, names: tuple[str, ...], wait: bool, timeout_s: float | None) -> None:
    """Stop workloads: their processes are asked to end, and killed after the grace time.

    All names are looked up before the first one is stopped.
    """
    from ampacity.cli.answer import print_json
    from ampacity.cli.render.console import tell

    with session.client() as client:
        found = [view for name in names for view in _named(client, session, name)]
        views = []
        for view in found:
            if not view.workload.phase.ended:
                view = client.stop(view.workload.id)
            elif not session.json:
                tell(f"{view.workload.name} has ended already ({view.workload.phase}).")
            views.append(view)
        if wait or timeout_s is not None:
            views = [client.wait(view.workload.id, timeout_s) for view in views]
    if session.json:
        print_json({"workloads": views})
        return
    for before, view in zip(found, views, strict=True):
        if not before.workload.phase.ended:
            click.echo(f"{view.workload.name}: {'ended' if view.workload.phase.ended else 'stopping'}")


def _named(client: Client, session: Session, name: str) -> list[WorkloadView]:
    """The workload of that name, or the live elements of the array of that name (``sweep`` or ``sweep-*``)."""
    from ampacity.model.errors import NotFound

    try:
        return [client.workload(name)]
    except NotFound:
        array = name.removesuffix("-*")
        live = client.workloads(project=session.project, phases=("waiting", "running", "stopping"), page=1000)
        found = [view for view in live if view.workload.array is not None and view.workload.array.array == array]
        if not found:
            raise
        return found

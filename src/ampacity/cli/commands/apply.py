"""``ampacity apply``: submit workload files, and change the queues, the topology and the routes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.cli.files import AllRead, WholeText
    from ampacity.client import Client

Changes = TypeVar("Changes")


@click.command(cls=VerbCommand)
@click.argument("arguments", nargs=-1, metavar="FILE...")
@click.option("-f", "--file", "options", multiple=True, metavar="FILE", help="A file; - is standard input.")
@click.option("--wait", is_flag=True, help="Return when all have ended; 1 when one did not succeed.")
@click.option(
    "--dry-run", is_flag=True, help="Only check the files; say what would change of queues, topology and routes."
)
@verb
def command(session: Session, arguments: tuple[str, ...], options: tuple[str, ...], wait: bool, dry_run: bool) -> None:
    """Submit every workload of the files. All files are checked before the first is submitted.

    A file may hold several workloads, with a line of --- between them. One with `queues:` or `scheduler:` at its top
    makes the queue tree and the settings what it says, before anything is submitted; one with `topology:`, `feeds:`,
    `licences:` or `storage:` the trees that nodes stand in, the power feeds, the licences and the volumes; one with
    `routes:` the public names of models on the endpoint.
    """
    from ampacity.cli.answer import print_json
    from ampacity.cli.failure import FAILED, Usage
    from ampacity.cli.files import read_all
    from ampacity.model.workload import WorkloadPhase

    if not arguments and not options:
        raise Usage("No file was named.", hint="Write `ampacity apply job.yaml`, or -f - for standard input.")
    read = read_all([*arguments, *options])
    if dry_run:
        _say_checked(session, read)
        return
    views = []
    with session.client() as client:
        changed = _change(session, client, read)
        for each in read.workloads:
            view = client.submit(each.spec)
            views.append(view)
            if not session.json:
                click.echo(f"{view.workload.name}: {view.workload.kind} created")
        if wait:
            views = [client.wait(view.workload.id) for view in views]
    if session.json:
        print_json({"workloads": views, **changed})
    elif wait:
        from ampacity.cli.follow import say_end

        for view in views:
            say_end(view)
    if wait and any(view.workload.phase is not WorkloadPhase.SUCCEEDED for view in views):
        sys.exit(FAILED)


def _say_checked(session: Session, read: AllRead) -> None:
    """The files are right; the control plane is asked only where queues, topology or routes would change."""
    from ampacity.cli.answer import print_json

    changed: dict[str, object] = {}
    if read.queues or read.topology or read.routes:
        with session.client() as client:
            changed = _change(session, client, read, dry_run=True)
    names = [each.spec.name for each in read.workloads]
    if session.json:
        print_json({"checked": names, **changed})
        return
    for name in names:
        click.echo(f"{name}: right as it is written")


def _change(session: Session, client: Client, read: AllRead, *, dry_run: bool = False) -> dict[str, object]:
    """Topology first: queues may speak of what it brings. What changed, by what it is about."""
    from ampacity.cli.render.changes import queue_lines, route_lines, topology_lines

    found: dict[str, object] = {}
    lines: list[str] = []

    def change(
        about: str, files: list[WholeText], apply: Callable[..., Changes], said: Callable[[Changes], Iterator[str]]
    ) -> None:
        if files:
            changes = [apply(each.text, name=each.file, dry_run=dry_run) for each in files]
            found[about] = changes
            lines.extend(line for each in changes for line in said(each))

    change("topology", read.topology, client.apply_topology, topology_lines)
    change("queues", read.queues, client.apply_queues, queue_lines)
    change("routes", read.routes, client.apply_routes, route_lines)
    for line in lines if not session.json else ():
        click.echo(line)
    return found

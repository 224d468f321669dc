"""``ampacity apply``: submit workload files, and change the queues."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.cli.files import QueueText
    from ampacity.client import Client
    from ampacity.model.view import QueueChanges


@click.command(cls=VerbCommand)
@click.argument("arguments", nargs=-1, metavar="FILE...")
@click.option("-f", "--file", "options", multiple=True, metavar="FILE", help="A file; - is standard input.")
@click.option("--wait", is_flag=True, help="Return when all have ended; 1 when one did not succeed.")
@click.option("--dry-run", is_flag=True, help="Only check the files, and say what queues would change.")
@verb
def command(session: Session, arguments: tuple[str, ...], options: tuple[str, ...], wait: bool, dry_run: bool) -> None:
    """Submit every workload of the files. All files are checked before the first is submitted.

    A file may hold several workloads, with a line of --- between them. One with `queues:` or `scheduler:` at its top
    makes the queue tree and the settings what it says, before anything is submitted.
    """
    from ampacity.cli.answer import print_json
    from ampacity.cli.failure import FAILED, Usage
    from ampacity.cli.files import read_all
    from ampacity.model.workload import WorkloadPhase

    if not arguments and not options:
        raise Usage("No file was named.", hint="Write `ampacity apply job.yaml`, or -f - for standard input.")
    reads, queue_texts = read_all([*arguments, *options])
    if dry_run:
        _say_checked(session, [read.spec.name for read in reads], queue_texts)
        return
    views = []
    with session.client() as client:
        changes = _change_queues(session, client, queue_texts)
        for read in reads:
            view = client.submit(read.spec)
            views.append(view)
            if not session.json:
                click.echo(f"{view.workload.name}: {view.workload.kind} created")
        if wait:
            views = [client.wait(view.workload.id) for view in views]
    if session.json:
        print_json({"workloads": views, **({"queues": changes} if queue_texts else {})})
    elif wait:
        from ampacity.cli.follow import say_end

        for view in views:
            say_end(view)
    if wait and any(view.workload.phase is not WorkloadPhase.SUCCEEDED for view in views):
        sys.exit(FAILED)


def _say_checked(session: Session, names: list[str], queue_texts: list[QueueText]) -> None:
    """The files are right; the control plane is asked only where queues would change."""
    from ampacity.cli.answer import print_json

    changes: list[QueueChanges] = []
    if queue_texts:
        with session.client() as client:
            changes = _change_queues(session, client, queue_texts, dry_run=True)
    if session.json:
        print_json({"checked": names, **({"queues": changes} if queue_texts else {})})
        return
    for name in names:
        click.echo(f"{name}: right as it is written")


def _change_queues(
    session: Session, client: Client, texts: list[QueueText], *, dry_run: bool = False
) -> list[QueueChanges]:
    from ampacity.cli.render.queues import changes_lines

    found = [client.apply_queues(each.text, name=each.file, dry_run=dry_run) for each in texts]
    for changes in found if not session.json else ():
        for line in changes_lines(changes):
            click.echo(line)
    return found

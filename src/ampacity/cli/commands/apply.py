"""``ampacity apply``: submit workload files."""

from __future__ import annotations

import sys

import click

from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("arguments", nargs=-1, metavar="FILE...")
@click.option("-f", "--file", "options", multiple=True, metavar="FILE", help="A file; - is standard input.")
@click.option("--wait", is_flag=True, help="Return when all have ended; 1 when one did not succeed.")
@click.option("--dry-run", is_flag=True, help="Only check the files.")
@verb
def command(session: Session, arguments: tuple[str, ...], options: tuple[str, ...], wait: bool, dry_run: bool) -> None:
    """Submit every workload of the files. All files are checked before the first is submitted.

    A file may hold several workloads, with a line of --- between them.
    """
    from ampacity.cli.answer import print_json
    from ampacity.cli.failure import FAILED, Usage
    from ampacity.cli.files import read_all
    from ampacity.model.workload import WorkloadPhase

    if not arguments and not options:
        raise Usage("No file was named.", hint="Write `ampacity apply job.yaml`, or -f - for standard input.")
    reads = read_all([*arguments, *options])
    if dry_run:
        _say_checked(session, [read.spec.name for read in reads])
        return
    views = []
    with session.client() as client:
        for read in reads:
            view = client.submit(read.spec)
            views.append(view)
            if not session.json:
                click.echo(f"{view.workload.name}: {view.workload.kind} created")
        if wait:
            views = [client.wait(view.workload.id) for view in views]
    if session.json:
        print_json({"workloads": views})
    elif wait:
        from ampacity.cli.follow import say_end

        for view in views:
            say_end(view)
    if wait and any(view.workload.phase is not WorkloadPhase.SUCCEEDED for view in views):
        sys.exit(FAILED)


def _say_checked(session: Session, names: list[str]) -> None:
    from ampacity.cli.answer import print_json

    if session.json:
        print_json({"checked": names})
        return
    for name in names:
        click.echo(f"{name}: right as it is written")

"""``ampacity ps``: the list of workloads."""

from __future__ import annotations

import time
from itertools import islice

import click

from ampacity.cli.session import Session, VerbCommand, verb

KINDS = ("task", "train", "service", "data")


@click.command(cls=VerbCommand)
@click.option("-a", "--all", "everything", is_flag=True, help="Also all that have ended.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only this kind; may be repeated.")
@click.option("--all-projects", is_flag=True, help="Of every project.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="At most so many.")
@verb
def command(session: Session, everything: bool, kinds: tuple[str, ...], all_projects: bool, limit: int | None) -> None:
    """List workloads: those that live, and the latest that have ended."""
    from ampacity.cli.answer import print_json

    with session.client() as client:
        project = None if all_projects else session.project
        found = client.workloads(all=everything, project=project, kinds=kinds)
        views = list(islice(found, limit))
    if session.json:
        print_json({"workloads": views})
        return
    from ampacity.cli.render.console import show, tell
    from ampacity.cli.render.workloads import workloads_table

    if not views:
        where = "any project" if all_projects else f"the project {session.project}"
        tell(f"No workloads in {where}. Begin with `ampacity run -- echo hello`.", style="dim")
        return
    show(workloads_table(views, now=time.time(), projects=all_projects))

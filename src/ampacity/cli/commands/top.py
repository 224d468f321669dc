"""``ampacity top``: what nodes, devices and jobs use, live."""

from __future__ import annotations

import sys

import click

from ampacity.cli.session import Session, VerbCommand, verb

SORTS = ("cpu", "memory", "devices", "energy", "name")


@click.command(cls=VerbCommand)
@click.option("--once", is_flag=True, help="Print it once; so it is where the output is no terminal, and with --json.")
@click.option("--sort", type=click.Choice(SORTS), default="cpu", show_default=True, help="By what jobs are sorted.")
@verb
def command(session: Session, once: bool, sort: str) -> None:
    """Show what nodes, devices and jobs use, drawn anew every second. Keys: q ends; c, m, d, e, n sort."""
    from ampacity.cli.answer import print_json
    from ampacity.cli.render.console import out, show
    from ampacity.cli.top.gather import Speeds, gather
    from ampacity.cli.top.screen import Screen, Sort

    with session.client() as client:
        speeds = Speeds()
        if session.json:
            print_json(gather(client, speeds, project=session.project_given, past=True))
        elif once or not sys.stdout.isatty():
            scene = gather(client, speeds, project=session.project_given, past=True)
            show(Screen(scene, sort=Sort(sort)))
        else:
            from ampacity.cli.top.live import watch

            watch(lambda: gather(client, speeds, project=session.project_given), Sort(sort), out())

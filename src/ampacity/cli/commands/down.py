"""``ampacity down``: the control plane ends; what runs, runs on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.client import Client


@click.command(cls=VerbCommand)
@click.option("--stop-workloads", is_flag=True, help="First stop all that runs.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--timeout", "timeout_s", default=120.0, show_default=True, metavar="SECONDS", help="Wait no longer.")
@verb
def command(session: Session, stop_workloads: bool, yes: bool, timeout_s: float) -> None:
    """Stop the control plane. Workloads run on, and the next `up` finds them again; with --stop-workloads they end."""
    from ampacity.cli.answer import print_json
    from ampacity.cli.ending import wait_until_gone
    from ampacity.client import Client, locate
    from ampacity.model.errors import NotRunning

    state_dir = session.state_dir
    try:
        pid = locate(state_dir).pid
        with Client(state_dir) as client:
            names = _running(client)
            if stop_workloads and names and not yes:
                _confirm(names)
            client.shutdown(workloads=stop_workloads)
    except NotRunning:
        if session.json:
            print_json({"was_running": False, "still_running": []})
        else:
            click.echo(f"No control plane runs in {state_dir}.")
        return
    wait_until_gone(state_dir, pid, timeout_s=timeout_s)
    left = [] if stop_workloads else names
    if session.json:
        print_json({"was_running": True, "still_running": left})
        return
    click.echo(f"The control plane in {state_dir} is down.")
    if left:
        click.echo(f"Still running: {', '.join(left)}. `ampacity up` finds {_them(left)} again.")


def _running(client: Client) -> list[str]:
    """Names of the workloads that hold a place now; of the platform's own, too."""
    from ampacity.model.errors import VersionMismatch
    from ampacity.model.ids import SYSTEM_PROJECT

    phases = ("running", "stopping")
    try:
        found = [*client.workloads(phases=phases), *client.workloads(phases=phases, project=SYSTEM_PROJECT)]
    except VersionMismatch:
        return []  # of another release: it can be ended all the same
    return [view.workload.name for view in found]


def _confirm(names: list[str]) -> None:
    if _on_terminal():
        click.confirm(f"Stop {', '.join(names)}?", abort=True, err=True)


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"

"""``ampacity exec``: a command inside a job that runs."""

from __future__ import annotations

import sys

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb

SHELL = ("/bin/sh", "-c", "exec $(command -v bash || command -v sh)")


@click.command(cls=VerbCommand, options_metavar="[OPTIONS]")
@click.argument("name", type=WORKLOAD)
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@click.option("-i", "--interactive", is_flag=True, help="Pass on what is typed, or comes through a pipe.")
@click.option("-t", "--tty", is_flag=True, help="On a terminal: for shells, editors, top.")
@click.option("--replica", type=click.IntRange(min=0), default=0, help="In this replica of a service.")
@click.option("--member", type=click.IntRange(min=0), default=0, help="On this node of a gang, counted from 0.")
@verb
def command(
    session: Session, /, name: str, command: tuple[str, ...], interactive: bool, tty: bool, replica: int, member: int
) -> None:
    """Run a command inside a job that runs: in its environment, working directory and limits. Returns its exit code.

    \b
        ampacity exec pretrain -- nvidia-smi
        ampacity exec -it pretrain -- bash
        cat new.conf | ampacity exec -i web -- sh -c 'cat > conf'

    What it starts ends with it, and it ends with the job.
    """
    sys.exit(run_inside(session, name, command, interactive=interactive, tty=tty, replica=replica, member=member))


def run_inside(
    session: Session, name: str, argv: tuple[str, ...], *, interactive: bool, tty: bool, replica: int, member: int
) -> int:
    """Run it, and return its exit code."""
    from ampacity.cli.failure import Usage
    from ampacity.client.terminal import terminal_size

    if tty and not sys.stdin.isatty():
        raise Usage("The input is no terminal.", hint="Leave out -t.")
    sys.stdout.flush()
    with session.client() as client:
        size = terminal_size() if tty else None
        terminal = client.exec(name, argv, tty_size=size, replica=replica, member=member)
        return terminal.run(stdin=0 if interactive or tty else None, tty_size=tty)

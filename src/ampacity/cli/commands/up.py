"""``ampacity up``: the control plane, on this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.cli.launch import Options

PORT = click.IntRange(min=0, max=65535)
FILE = click.Path(exists=True, dir_okay=False, resolve_path=True)


@click.command(cls=VerbCommand)
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="SPEC",
    help="Declare a node instead of using the machine as it is; may be repeated: n1:cpus=8,memory=32GB,H100=8",
)
@click.option("--port", type=PORT, help="The API's port on loopback. 0: a free one.")
@click.option("--gateway-port", type=PORT, help="The endpoint's port. 0: a free one.")
@click.option("--gateway-workers", type=click.IntRange(min=1), help="Processes that share the endpoint's port.")
@click.option("--gateway-tls", metavar="HOST:PORT", help="Where the endpoint listens with TLS as well: 0.0.0.0:7443.")
@click.option("--gateway-cert", type=FILE, metavar="FILE", help="The endpoint's certificate and its chain, PEM.")
@click.option("--gateway-key", type=FILE, metavar="FILE", help="The certificate's private key, PEM.")
@click.option("--store", metavar="URL", help="Keep the state in PostgreSQL: postgresql://user@host/database.")
@click.option("--keep-finished", metavar="TIME", help="How long workloads are kept after their end: 30d.")
@click.option("--keep-events", metavar="TIME", help="How long single events are kept: 7d.")
@click.option(
    "--backup",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Once it runs, write a backup there, as `backup` does.",
)
@click.option("--foreground", is_flag=True, help="Stay, and log to the terminal.")
@verb
def command(session: Session, /, nodes: tuple[str, ...], backup: Path | None, foreground: bool, **told: Any) -> None:
    """Start the control plane on this machine, and return when it answers.

    What is said here is kept: the next `up` without options is the same.
    """
    from ampacity.cli.launch import answers, start

    options = _options(nodes, **told)
    if foreground:
        from ampacity.cli.daemon import main as run_daemon

        sys.exit(run_daemon(["--state", str(session.state_dir), *options.arguments()]))
    started = not answers(session.state_dir) and start(session.state_dir, options)
    if backup is not None:
        from ampacity.cli.saving import save

        save(session, backup, with_keys=False)
        if session.json:
            return
    _say(session, options, started=started)


def _options(
    nodes: tuple[str, ...], *, store: str | None, keep_finished: str | None, keep_events: str | None, **ports: Any
) -> Options:
    """As they were told, checked. Raises ``Usage``, ``InvalidSpec``."""
    from ampacity.cli.launch import Options
    from ampacity.cli.store_address import checked_store
    from ampacity.drivers.local.declare import parse_declaration

    for node in nodes:
        parse_declaration(node)
    return Options(
        nodes=nodes,
        store=checked_store(store),
        keep_finished_s=_seconds("--keep-finished", keep_finished),
        keep_events_s=_seconds("--keep-events", keep_events),
        **ports,
    )


def _say(session: Session, options: Options, *, started: bool) -> None:
    """How it is now, and what of the options came to nothing because it ran already."""
    from ampacity.cli.answer import plain, print_json
    from ampacity.cli.glance import glance
    from ampacity.client import Client

    with Client(session.state_dir) as client:
        seen = glance(client)
    if session.json:
        print_json({"started": started, "status": plain(seen.status), "nodes": plain(seen.nodes)})
        return
    from ampacity.cli.render.console import show, tell
    from ampacity.cli.render.status import status_table

    if not started:
        tell(f"A control plane runs in {session.state_dir} already (process {seen.status.pid}).")
        if options.arguments():
            tell("It keeps its settings: `ampacity down`, then `ampacity up` with the new ones.", style="yellow")
    show(status_table(seen, now=time.time()))


def _seconds(option: str, text: str | None) -> float | None:
    from ampacity.cli.failure import Usage
    from ampacity.model.errors import InvalidSpec
    from ampacity.model.quantities import parse_duration

    if text is None:
        return None
    try:
        return parse_duration(text)
    except InvalidSpec as error:
        raise Usage(f"{option}: {error}") from error

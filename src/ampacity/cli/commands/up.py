"""``ampacity up``: the control plane, on this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from ampacity.cli.session import Session, VerbCommand, verb

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
def command(
    session: Session,
    nodes: tuple[str, ...],
    port: int | None,
    gateway_port: int | None,
    gateway_workers: int | None,
    gateway_tls: str | None,
    gateway_cert: str | None,
    gateway_key: str | None,
    store: str | None,
    keep_finished: str | None,
    keep_events: str | None,
    backup: Path | None,
    foreground: bool,
) -> None:
    """Start the control plane on this machine, and return when it answers.

    What is said here is kept: the next `up` without options is the same.
    """
    from ampacity.cli.answer import plain, print_json
    from ampacity.cli.glance import glance
    from ampacity.cli.launch import Options, answers, start
    from ampacity.cli.render.console import tell
    from ampacity.drivers.local.declare import parse_declaration

    for node in nodes:
        parse_declaration(node)
    state_dir = session.state_dir
    options = Options(
        nodes=nodes,
        port=port,
        gateway_port=gateway_port,
        gateway_workers=gateway_workers,
        gateway_tls=gateway_tls,
        gateway_cert=gateway_cert,
        gateway_key=gateway_key,
        store=_checked_store(store),
        keep_finished_s=_seconds("--keep-finished", keep_finished),
        keep_events_s=_seconds("--keep-events", keep_events),
    )
    if foreground:
        from ampacity.cli.daemon import main as run_daemon

        sys.exit(run_daemon(["--state", str(state_dir), *options.arguments()]))
    running = answers(state_dir)
    started = not running and start(state_dir, options)
    from ampacity.client import Client

    if backup is not None:
        from ampacity.cli.saving import save

        save(session, backup, with_keys=False)
        if session.json:
            return
    with Client(state_dir) as client:
        seen = glance(client)
    if session.json:
        print_json({"started": started, "status": plain(seen.status), "nodes": plain(seen.nodes)})
        return
    from ampacity.cli.render.console import show
    from ampacity.cli.render.status import status_table

    if not started:
        tell(f"A control plane runs in {state_dir} already (process {seen.status.pid}).")
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


def _checked_store(store: str | None) -> str | None:
    """Whatever stands on a command line can be read by every user of the machine."""
    from ampacity.cli.daemon import without_password
    from ampacity.cli.failure import Usage

    if store and without_password(store) != store:
        raise Usage("--store: leave the password out; give it by ~/.pgpass, by PGPASSWORD, or all by AMPACITY_STORE.")
    return store

"""``ampacity restore``: a state folder out of a backup."""

from __future__ import annotations

from pathlib import Path

import click

from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@verb
def command(session: Session, file: Path) -> None:
    """Make a state folder from a backup. Nothing is overwritten: the folder must not have a store yet.

    What ran when the backup was made is given up, and tried again as its retry policy says: make sure first that it
    does not run any more.
    """
    from datetime import datetime

    from ampacity.cli.answer import plain, print_json
    from ampacity.cli.render.console import tell
    from ampacity.control.backup import restore
    from ampacity.control.state_folder import StateFolder

    restored = restore(StateFolder(session.state_dir), file)
    if session.json:
        print_json({"state": str(session.state_dir), **plain(restored)})
        return
    made_at = datetime.fromtimestamp(restored.manifest.made_at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    click.echo(f"{session.state_dir} is as it was at {made_at}.")
    if restored.lost:
        attempts = "1 attempt" if restored.lost == 1 else f"{restored.lost} attempts"
        tell(f"Given up, since they ran then: {attempts}.")
    tell("`ampacity up` starts the control plane.", style="dim")

"""``ampacity backup``: a copy of the state folder's contents, while it is in use."""

from __future__ import annotations

from pathlib import Path

import click

from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--with-keys", is_flag=True, help="Also the key of the secrets: keep such a backup safe.")
@verb
def command(session: Session, file: Path, with_keys: bool) -> None:
    """Write a backup: the store, the settings and the sealed secrets. The control plane may run meanwhile.

    Models, checkpoints and logs are not in it. `ampacity restore` makes a state folder of it.
    """
    from ampacity.cli.saving import save

    save(session, file, with_keys=with_keys)

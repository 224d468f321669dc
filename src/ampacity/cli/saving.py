"""Writing a backup, and saying what it holds: for ``backup`` and ``up --backup``."""

from __future__ import annotations

from pathlib import Path

import click

from ampacity.cli.session import Session


def save(session: Session, file: Path, *, with_keys: bool) -> None:
    from ampacity.cli.answer import plain, print_json
    from ampacity.cli.render.console import tell
    from ampacity.control.backup import KEYS, back_up
    from ampacity.control.state_folder import StateFolder
    from ampacity.model.quantities import about_bytes

    folder = StateFolder(session.state_dir)
    manifest = back_up(folder, file.absolute(), with_keys=with_keys)
    size = file.stat().st_size
    if session.json:
        print_json({"backup": str(file.absolute()), "bytes": size, "manifest": plain(manifest)})
        return
    click.echo(f"{file}: {about_bytes(size)}, {', '.join(manifest.files)}")
    left_out = [name for name in KEYS if folder.file(name).exists()]
    if left_out and not with_keys:
        files = " and ".join(left_out)
        tell(f"Without {files}, which opens the secrets: keep a copy of it elsewhere, or use --with-keys.", style="dim")

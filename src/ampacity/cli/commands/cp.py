"""``ampacity cp``: files of a job, in both directions."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.client.files import Told

_REMOTE = re.compile(r"(?P<ref>[A-Za-z0-9][A-Za-z0-9-]{0,62}):(?P<path>.*)", re.DOTALL)


@click.command(cls=VerbCommand)
@click.argument("source")
@click.argument("target")
@click.option("--replica", type=click.IntRange(min=0), default=0, help="Of this replica of a service.")
@click.option("--member", type=click.IntRange(min=0), default=0, help="Of this node of a gang, counted from 0.")
@verb
def command(session: Session, source: str, target: str, replica: int, member: int) -> None:
    """Copy files and folders from a job, or to it.

    \b
        ampacity cp pretrain:ckpt/step-400 ./step-400
        ampacity cp pretrain:ckpt/step-400 ./           # into this folder, under its own name
        ampacity cp ./fixed.py pretrain:fixed.py
        ampacity cp 'pretrain:{member_dir}/output.log' .

    NAME:PATH is relative to the job's working directory; {member_dir}/ begins the private folder of its process. A
    local file with a ':' in its name is ./a:b. A copy that was cut goes on where it was when it is asked for again.
    Links inside a folder are passed over.
    """
    from ampacity.cli.answer import print_json
    from ampacity.cli.failure import Usage
    from ampacity.cli.render.console import tell
    from ampacity.cli.render.units import about_bytes, files_text

    far_source, far_target = _REMOTE.fullmatch(source), _REMOTE.fullmatch(target)
    if (far_source is None) == (far_target is None):
        raise Usage("One of the two has to be a job's.", hint="Write it as NAME:PATH, such as pretrain:ckpt.")
    far = far_source or far_target
    assert far is not None, "one of the two is there"
    with session.client() as client, _progress(quiet=session.json) as told:
        files = client.files(far["ref"], replica=replica, member=member)
        if far_source is not None:
            copied = files.get(far["path"] or ".", _local_target(target, far["path"]), told=told)
        else:
            copied = files.put(_local_source(source), _far_target(far["path"], source), told=told)
    if session.json:
        print_json({"files": copied.files, "size_bytes": copied.size_bytes, "skipped": copied.skipped})
        return
    for path in copied.skipped:
        tell(f"{path} is a link, or no file: passed over", style="dim")
    click.echo(f"{files_text(copied.files)}, {about_bytes(copied.size_bytes)}")


def _local_target(text: str, far_path: str) -> Path:
    """In a folder that is there, or that a '/' says, under the name that it has."""
    path = Path(text)
    name = far_path.rstrip("/").rpartition("/")[2]
    if (path.is_dir() or text.endswith("/")) and name not in ("", ".", "..", "{member_dir}"):
        path.mkdir(parents=True, exist_ok=True)
        return path / name
    return path


def _local_source(text: str) -> Path:
    from ampacity.model.errors import NotFound

    path = Path(text)
    if not path.exists():
        raise NotFound(f"There is no {text!r} here.")
    return path


def _far_target(path: str, source: str) -> str:
    return f"{path}{Path(source).resolve().name}" if not path or path.endswith("/") else path


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Told]:
    """Bytes so far and how fast, on a terminal."""
    from ampacity.client.files import silent

    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (SpinnerColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda count: progress.advance(task, count)

"""``ampacity models``: the hub."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ampacity.cli.names import MODEL, WORKLOAD
from ampacity.cli.session import Session, VerbGroup, verb

REF = "NAME[:VERSION|:TAG]"


@click.group(cls=VerbGroup)
@click.pass_context
def group(ctx: click.Context) -> None:
    """List the models of the hub; keep them in versions that know where they came from."""
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(Session), None)


@group.command("list")
@click.argument("name", type=MODEL, required=False)
@verb
def list_models(session: Session, name: str | None) -> None:
    """List the models; with a NAME all versions of that one."""
    _list(session, name)


@group.command()
@click.argument("name", type=MODEL)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--tag", "tags", multiple=True, help="A tag for it; may be repeated.")
@click.option("--run", type=WORKLOAD, help="The workload that made it.")
@click.option("--step", type=click.IntRange(min=0), help="The step of the run at which it was made.")
@click.option("--data", multiple=True, help="A data set that it was trained on; may be repeated.")
@verb
def add(
    session: Session,
    name: str,
    path: Path,
    tags: tuple[str, ...],
    run: str | None,
    step: int | None,
    data: tuple[str, ...],
) -> None:
    """Add the files at PATH as the next version of the model NAME."""
    from ampacity.cli.answer import print_json
    from ampacity.cli.render.units import about_bytes

    with session.client() as client:
        model = client.add_model(name, path.absolute(), tags=tags, run=run, step=step, data=data)
    if session.json:
        print_json(model)
        return
    click.echo(f"{model.ref}: {about_bytes(model.size_bytes)} added")


@group.command()
@click.argument("ref", type=MODEL, metavar=REF)
@verb
def show(session: Session, ref: str) -> None:
    """Show one version: its files, its weights and where it came from."""
    from ampacity.cli.answer import print_json

    with session.client() as client:
        model = client.model(ref)
    if session.json:
        print_json(model)
        return
    from ampacity.cli.render.console import show as show_page
    from ampacity.cli.render.models import model_page

    show_page(model_page(model, now=time.time()))


@group.command()
@click.argument("ref", type=MODEL, metavar=REF)
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@verb
def get(session: Session, ref: str, folder: Path) -> None:
    """Copy a version's files into a folder; every byte is verified on the way."""
    from ampacity.cli.answer import plain, print_json
    from ampacity.cli.render.units import about_bytes, files_text
    from ampacity.hub import Hub

    with session.client() as client:
        model = client.model(ref)
        hub_dir = Path(client.status().state_dir) / "hub"
    _on_this_machine(hub_dir)
    target = folder.absolute()
    Hub(hub_dir).export(model.ref, target)
    if session.json:
        print_json({"model": plain(model), "to": str(target)})
        return
    click.echo(f"{model.ref}: {files_text(len(model.files))}, {about_bytes(model.size_bytes)}, verified, in {target}")


@group.command()
@click.argument("refs", nargs=-1, required=True, type=MODEL, metavar=f"{REF}...")
@verb
def rm(session: Session, refs: tuple[str, ...]) -> None:
    """Remove versions. Their files go when no other version has them."""
    from ampacity.cli.answer import plain, print_json

    with session.client() as client:
        removed = []
        for ref in refs:
            removed.append(client.remove_model(ref))
            if not session.json:
                click.echo(f"{removed[-1].ref}: removed")
    if session.json:
        print_json({"models": plain(removed)})


def _list(session: Session, name: str | None) -> None:
    from ampacity.cli.answer import print_json

    with session.client() as client:
        models = client.models(name)
    if session.json:
        print_json({"models": models})
        return
    from ampacity.cli.render.console import show as show_table
    from ampacity.cli.render.console import tell
    from ampacity.cli.render.models import models_table

    if not models:
        tell("No models yet. `ampacity models add NAME FOLDER` adds one.", style="dim")
        return
    show_table(models_table(models, now=time.time()))


def _on_this_machine(hub_dir: Path) -> None:
    from ampacity.model.errors import NotFound

    if not hub_dir.is_dir():
        raise NotFound(
            f"{hub_dir} is not on this machine, and `get` copies from there.", hint="Run it where the control plane is."
        )

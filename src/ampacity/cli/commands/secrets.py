"""``ampacity secrets``: values that jobs need and nobody else may read."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from ampacity.cli.names import SECRET
from ampacity.cli.session import Session, VerbGroup, verb


@click.group(cls=VerbGroup)
@click.pass_context
def group(ctx: click.Context) -> None:
    """List secrets by name; set and remove them. A workload asks for them with `secrets: [NAME]`."""
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(Session))


@group.command("set")
@click.argument("name", type=SECRET)
@click.argument("value", required=False)
@click.option("--from-file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its content.")
@verb
def set_secret(session: Session, name: str, value: str | None, path: Path | None) -> None:
    """Set a secret, anew or for the first time.

    Without VALUE it is asked for, and not shown; or read from stdin where that is no terminal (one newline at its end
    is left out). A VALUE on the command line may stay in the shell's history.
    """
    from ampacity.cli.answer import print_json
    from ampacity.cli.failure import Usage

    if value is not None and path is not None:
        raise Usage("Give either VALUE or --from-file.")
    given = path.read_bytes() if path is not None else _asked(name) if value is None else value.encode()
    with session.client() as client:
        secret = client.set_secret(name, given)
    if session.json:
        print_json(secret)
        return
    click.echo(f"{secret.name}: set for the project {secret.project}")


@group.command("ls")
@verb
def list_secrets(session: Session) -> None:
    """List the project's secrets by name. Values are never shown."""
    _list(session)


@group.command()
@click.argument("names", nargs=-1, required=True, type=SECRET, metavar="NAME...")
@verb
def rm(session: Session, names: tuple[str, ...]) -> None:
    """Remove secrets. What runs keeps them; what is started later and asks for them fails."""
    from ampacity.cli.answer import plain, print_json

    removed = []
    with session.client() as client:
        for name in names:
            removed.append(client.remove_secret(name))
            if not session.json:
                click.echo(f"{name}: removed")
    if session.json:
        print_json({"secrets": plain(removed)})


@group.command("rotate-key")
@verb
def rotate_key(session: Session) -> None:
    """Seal all secrets with a new key, and forget the old one."""
    from ampacity.cli.answer import print_json

    with session.client() as client:
        count = client.rotate_secret_key()
    if session.json:
        print_json({"secrets": count})
        return
    click.echo(f"{count} {'secret is' if count == 1 else 'secrets are'} sealed with a new key.")


def _asked(name: str) -> bytes:
    if _terminal():
        answer: str = click.prompt(f"The value of {name}", hide_input=True, err=True)
        return answer.encode()
    return sys.stdin.buffer.read().removesuffix(b"\n")


def _list(session: Session) -> None:
    from ampacity.cli.answer import print_json

    with session.client() as client:
        secrets = client.secrets()
    if session.json:
        print_json({"secrets": secrets})
        return
    from ampacity.cli.render.console import show, tell
    from ampacity.cli.render.secrets import secrets_table

    if not secrets:
        tell(f"No secrets in the project {session.project}. `ampacity secrets set NAME` sets one.", style="dim")
        return
    show(secrets_table(secrets, now=time.time()))


def _terminal() -> bool:
    return sys.stdin.isatty()

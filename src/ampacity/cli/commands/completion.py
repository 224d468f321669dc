"""``ampacity completion``: the script that completes names in a shell."""

from __future__ import annotations

import click

from ampacity.cli.session import Session, VerbCommand, verb

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=VerbCommand)
@click.argument("shell", type=click.Choice(SHELLS))
@verb
def command(session: Session, shell: str) -> None:
    """Print a script that completes verbs, options and names.

    \b
        bash:  eval "$(ampacity completion bash)"                    in ~/.bashrc
        zsh:   eval "$(ampacity completion zsh)"                     in ~/.zshrc
        fish:  ampacity completion fish > ~/.config/fish/completions/ampacity.fish
    """
    from click.shell_completion import get_completion_class

    from ampacity.cli.answer import print_json
    from ampacity.cli.root import cli

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    script = kind(cli, {}, "ampacity", "_AMPACITY_COMPLETE").source()
    if session.json:
        print_json({"shell": shell, "script": script})
        return
    click.echo(script)

"""``ampacity routes``: the public names of models, and what stands behind them."""

from __future__ import annotations

import click

from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@verb
def command(session: Session) -> None:
    """Show the routes: names that stand for one model or several, with shares, shadows and fallbacks.

    `ampacity apply routes.yaml` changes them.
    """
    from ampacity.cli.answer import print_json

    with session.client() as client:
        view = client.routes()
    if session.json:
        print_json(view)
        return
    from ampacity.cli.render.console import show, tell
    from ampacity.cli.render.routes import routes_table

    if not view.routes:
        tell("There are no routes: models go by their own names. `ampacity apply routes.yaml` makes some.")
        return
    show(routes_table(view))

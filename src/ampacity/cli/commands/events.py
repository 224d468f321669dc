"""``ampacity events``: what happened."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.model.view import EventView


@click.command(cls=VerbCommand)
@click.argument("name", type=WORKLOAD, required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--after", type=click.IntRange(min=0), metavar="SEQ", help="Only those after this sequence number.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N of what there is.")
@verb
def command(session: Session, name: str | None, follow: bool, after: int | None, tail: int | None) -> None:
    """Show what happened, in order: of one workload, or of everything."""
    from ampacity.cli.answer import print_line
    from ampacity.cli.render.events import event_line

    def put(event: EventView) -> None:
        if session.json:
            print_line(event)
        else:
            click.echo(event_line(event, now=time.time(), colours=_coloured()))

    with session.client() as client:
        ident = None if name is None else client.workload(name).workload.id
        last = after or 0
        past = client.events(after=last, workload=ident)
        for event in past if tail is None else deque(past, maxlen=tail):
            put(event)
            last = event.seq
        if follow:
            for event in client.events(after=last, workload=ident, follow=True):
                put(event)


def _coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")

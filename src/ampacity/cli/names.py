"""Arguments that name things of the control plane, completed in the shell when it answers fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ampacity.cli.session import Session

if TYPE_CHECKING:
    from ampacity.client import Client

ANSWER_WITHIN_S = 0.5
MOST_OFFERED = 200

Names = Callable[["Client", Session], Iterable[str]]


class NameType(click.ParamType[str]):
    """A name as it stands."""

    def __init__(self, name: str, names: Names) -> None:
        self.name = name
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ampacity.model.errors import AmpacityError

        session = ctx.ensure_object(Session)
        try:
            with session.client(timeout_s=ANSWER_WITHIN_S) as client:
                found = sorted({name for name in self._names(client, session) if name.startswith(incomplete)})
        except AmpacityError:
            return []  # nobody to ask: there is nothing to offer, and a message would spoil the command line
        return [CompletionItem(name) for name in found[:MOST_OFFERED]]


def _workloads(client: Client, session: Session) -> Iterable[str]:
    from itertools import islice

    return [view.workload.name for view in islice(client.workloads(project=session.project), MOST_OFFERED)]


WORKLOAD = NameType("name", _workloads)
NODE = NameType("node", lambda client, session: [str(view.node.id) for view in client.nodes()])
SECRET = NameType("name", lambda client, session: [secret.name for secret in client.secrets()])
KEY = NameType("name", lambda client, session: [key.name for key in client.api_keys()])
MODEL = NameType("model", lambda client, session: [model.name for model in client.models()])

"""What the options of every verb said: state folder, project, JSON or not; and the client that follows from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ampacity.client import Client

PROJECT_VARIABLE = "AMPACITY_PROJECT"


@dataclass(slots=True)
class Session:
    """One call of the command line. The options may stand before and after the verb; the later one holds."""

    state: Path | None = None
    project_given: str | None = None
    json: bool = False
    _warned: bool = False

    @property
    def project(self) -> str:
        return self.project_given or os.environ.get(PROJECT_VARIABLE) or "default"

    @property
    def state_dir(self) -> Path:
        """The state folder, absolute."""
        if self.state is not None:
            return self.state.expanduser().absolute()
        from ampacity.client import state_folder

        return state_folder().absolute()

    def say_other_release(self, version: str) -> None:
        """A warning on stderr, once; programs that asked for JSON see the version in `status`."""
        if self.json or self._warned:
            return
        self._warned = True
        from ampacity import __version__
        from ampacity.api.versions import advice

        text = f"the control plane runs Ampacity {version}, this is {__version__}; what one of them lacks may fail."
        click.echo(f"warning: {text} {advice(server=version, client=__version__)}", err=True)

    def client(self, *, timeout_s: float = 60.0) -> Client:
        """A client of the control plane that was asked for. Nothing is opened before its first call."""
        return connect(self, timeout_s=timeout_s)


def connect(session: Session, *, timeout_s: float) -> Client:
    """The client of a session. Without ``--state`` the environment says where (``AMPACITY_URL``, ``AMPACITY_HOME``)."""
    from ampacity.client import Client

    state = None if session.state is None else session.state_dir
    return Client(state, project=session.project, timeout_s=timeout_s, on_other_release=session.say_other_release)


def _keep(attribute: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value:
            setattr(ctx.ensure_object(Session), attribute, value)
        return value

    return callback


def _global(*names: str, attribute: str, **settings: Any) -> click.Option:
    return click.Option(names, expose_value=False, is_eager=True, callback=_keep(attribute), **settings)


GLOBAL_OPTIONS = (
    _global(
        "--state",
        attribute="state",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="The control plane's folder.  [$AMPACITY_HOME, else ~/.ampacity]",
    ),
    _global(
        "--project",
        attribute="project_given",
        metavar="NAME",
        help="The project that names belong to.  [$AMPACITY_PROJECT, else default]",
    ),
    _global("--json", attribute="json", is_flag=True, help="Answer in JSON, for programs."),
)


class VerbCommand(click.Command):
    """A verb; it has the options of all verbs."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params = [*self.params, *GLOBAL_OPTIONS]


class VerbGroup(click.Group):
    """A verb with sub-verbs; called bare it does what its function does."""

    command_class = VerbCommand

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"invoke_without_command": True, **settings})
        self.params = [*self.params, *GLOBAL_OPTIONS]


verb = click.make_pass_decorator(Session)
"""Gives the function the session as its first argument."""

"""The root command and the table of verbs. Only click is imported here, so that ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from ampacity import __version__

from .session import GLOBAL_OPTIONS, Session


@dataclass(frozen=True, slots=True)
class Verb:
    """``target``: where the command is, as ``module:attribute``; imported when it is called."""

    name: str
    target: str
    help: str


_HERE = "ampacity.cli.commands"

SECTIONS: dict[str, tuple[Verb, ...]] = {
    "The control plane": (
        Verb("up", f"{_HERE}.up:command", "Start the control plane on this machine."),
        Verb("down", f"{_HERE}.down:command", "Stop the control plane; what runs, runs on."),
        Verb("backup", f"{_HERE}.backup:command", "Write a backup of the state folder, while it is in use."),
        Verb("restore", f"{_HERE}.restore:command", "Make a state folder from a backup."),
        Verb("status", f"{_HERE}.status:command", "Show the control plane and its nodes."),
    ),
    "Workloads": (
        Verb("run", f"{_HERE}.run:command", "Run a command, show its output, return its exit code."),
        Verb("apply", f"{_HERE}.apply:command", "Submit workload files; change queues, topology, routes."),
        Verb("ps", f"{_HERE}.ps:command", "List workloads."),
        Verb("logs", f"{_HERE}.logs:command", "Show a workload's output."),
        Verb("attach", f"{_HERE}.attach:command", "Follow a running job and return its exit code."),
        Verb("exec", f"{_HERE}.exec:command", "Run a command inside a running job."),
        Verb("cp", f"{_HERE}.cp:command", "Copy files from a job, or to it."),
        Verb("why", f"{_HERE}.why:command", "Say why a workload waits, runs or ended as it did."),
        Verb("scale", f"{_HERE}.scale:command", "Change the number of a service's replicas, or of a gang's nodes."),
        Verb("stop", f"{_HERE}.stop:command", "Stop workloads."),
    ),
    "Models": (
        Verb("serve", f"{_HERE}.serve:command", "Serve a model behind the OpenAI-compatible endpoint."),
        Verb("models", f"{_HERE}.models:group", "Keep models: add, list, show, get, rm."),
        Verb("routes", f"{_HERE}.routes:command", "Show the public names of models, and what stands behind them."),
        Verb("keys", f"{_HERE}.keys:group", "Say who may use the endpoint, and how much."),
        Verb("usage", f"{_HERE}.usage:command", "Show what requests to models have used, and what it cost."),
    ),
    "Secrets": (Verb("secrets", f"{_HERE}.secrets:group", "Keep values that jobs need and nobody else may read."),),
    "The machines": (
        Verb("queues", f"{_HERE}.queues:command", "Show who may use how much, and who does."),
        Verb("nodes", f"{_HERE}.nodes:group", "List nodes; cordon and uncordon them."),
        Verb("volumes", f"{_HERE}.volumes:command", "Show where data lies, and who mounts it."),
        Verb("top", f"{_HERE}.top:command", "Show what nodes, accelerators and jobs use, live."),
        Verb("events", f"{_HERE}.events:command", "Show what happened."),
    ),
    "More": (
        Verb("bench", f"{_HERE}.bench:group", "Measure an endpoint under load: bench serve."),
        Verb("demo", "ampacity.cli.demo.command:command", "See it all work, on this machine, in a few minutes."),
        Verb("completion", f"{_HERE}.completion:command", "Print a script that completes names in your shell."),
    ),
}


class Root(click.Group):
    """Loads a verb when it is called; says errors in Ampacity's form."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb.name for verbs in SECTIONS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = _find(cmd_name)
        return None if verb is None else _load(verb)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and _find(args[0]) is None:
            from .failure import unknown_verb

            raise unknown_verb(args[0], self.list_commands(ctx), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.list_commands(ctx))
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(verb.name.ljust(width), verb.help) for verb in verbs])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [verb for verbs in SECTIONS.values() for verb in verbs if verb.name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(verb.name, help=verb.help) for verb in verbs), *options]

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run and exit: 0, 1 (it failed), 2 (usage or user error), or the job's own code."""
        from .failure import exit_code_of

        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, prog_name or "ampacity", **{**extra, "standalone_mode": False})
        except Exception as error:  # noqa: BLE001 - what is no user's business is raised again there
            code = exit_code_of(error, given)
        except KeyboardInterrupt:
            code = 130
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the exit flushes once more
        sys.exit(code if isinstance(code, int) else 0)


def _find(name: str) -> Verb | None:
    return next((verb for verbs in SECTIONS.values() for verb in verbs if verb.name == name), None)


def _load(verb: Verb) -> click.Command:
    from importlib import import_module

    module, _, attribute = verb.target.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


@click.group(
    "ampacity",
    cls=Root,
    params=list(GLOBAL_OPTIONS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Begin with `ampacity run -- echo hello`. `ampacity VERB --help` says more about a verb.",
)
@click.version_option(__version__, prog_name="ampacity", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train, serve, host and watch AI workloads, on one machine or many."""
    ctx.ensure_object(Session)

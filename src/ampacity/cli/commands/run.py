"""``ampacity run``: a command becomes a workload, here and now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ampacity.cli.names import WORKLOAD
from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.client import Client
    from ampacity.model.workload import WorkloadSpec

T = TypeVar("T")

_OPTIONS = (
    click.option("--name", help="Its name. Made from the command where left out."),
    click.option(
        "--kind", type=click.Choice(["task", "train", "data"]), help="task where left out; with ranks: train."
    ),
    click.option("-a", "--accelerators", metavar="KIND:N", help="On each node: H100:2, H100:0.5, or 2 of any kind."),
    click.option("--cpus", metavar="N", help="CPUs on each node: 2, 0.5 or 2+. One where left out."),
    click.option("--memory", metavar="SIZE", help="Memory on each node: 4GB or 4GB+."),
    click.option("--disk", metavar="SIZE", help="Disk space on each node: 100GB."),
    click.option("--nodes", metavar="N", help="How many nodes, all at once: 2; for a train also 2..4."),
    click.option("--ranks-per-node", type=click.IntRange(min=1), metavar="N", help="Processes on each node (train)."),
    click.option("-e", "--env", "envs", multiple=True, metavar="K=V", help="A variable; K alone passes on this one's."),
    click.option(
        "--secret", "secrets", multiple=True, metavar="NAME", help="A secret for a variable; may be repeated."
    ),
    click.option(
        "-v",
        "--volume",
        "volumes",
        multiple=True,
        metavar="WHAT:PATH[:ro]",
        help="A volume, or a folder of the node (./corpus), found at that path; may be repeated.",
    ),
    click.option("--workdir", metavar="DIR", default=".", help="Where it runs. This folder where left out."),
    click.option("--setup", metavar="SCRIPT", help="A shell script that is run before it."),
    click.option("--retry", type=click.IntRange(min=0), metavar="N", help="How often it may begin again."),
    click.option("--checkpoint-dir", metavar="DIR", help="Where it saves its state (train)."),
    click.option("--checkpoint-every", metavar="TIME", help="How often it saves its state (train): 10m."),
    click.option("--max-duration", metavar="TIME", help="Stopped after this time: 12h."),
    click.option("--grace", metavar="TIME", help="Between being asked to stop and being killed: 10s."),
    click.option("--priority", help="low, normal, high, or a number."),
    click.option("--queue", metavar="NAME", help="The queue."),
    click.option("--after", multiple=True, type=WORKLOAD, help="Wait for this one's success; may be repeated."),
    click.option("--array", metavar="INDICES", help="One for each index, such as 0-999: see AMPACITY_ARRAY_INDEX."),
    click.option("-d", "--detach", is_flag=True, help="Submit it, say its name, and return."),
)


def _options(function: Callable[..., T]) -> Callable[..., T]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(cls=VerbCommand, options_metavar="[OPTIONS] --")
@_options
@click.argument("command", nargs=-1, required=True, metavar="COMMAND...")
@verb
def command(session: Session, /, command: tuple[str, ...], detach: bool, array: str | None, **given: Any) -> None:
    """Run a command as a workload: show its output and return its exit code (128 + n after signal n).

    \b
        ampacity run -- python train.py --lr 3e-4
        ampacity run -a H100:2 --ranks-per-node 2 --retry 2 -- python train.py
        ampacity run -- 'make data && python train.py'
        ampacity run --array 0-999 -- 'python sweep.py --seed $AMPACITY_ARRAY_INDEX'

    Several words are a command with its arguments; a single one is a line for the shell. Ctrl-C asks whether to stop
    it; Ctrl-C again leaves it running. Without a control plane, one is started first.
    """
    from ampacity.cli.asked import refuse_workload_file, spec_from_options

    refuse_workload_file(command)
    spec = spec_from_options(_keys(command, given))

    from ampacity.cli.launch import ensure_running

    ensure_running(session)
    with session.client() as client:
        if array is None:
            code = _run_one(session, client, spec, detach=detach)
        else:
            code = _run_array(session, client, spec, array, detach=detach)
    sys.exit(code)


def _run_one(session: Session, client: Client, spec: WorkloadSpec, *, detach: bool) -> int:
    """The exit code."""
    from ampacity.cli.answer import print_json
    from ampacity.cli.job import follow_to_end
    from ampacity.cli.render.console import tell

    view = client.submit(spec)
    name = view.workload.name
    if not detach:
        if not session.json and sys.stderr.isatty():
            tell(f"{name} submitted", style="dim")
        return follow_to_end(session, client, view)
    if session.json:
        print_json(view)
    else:
        click.echo(name)
        tell(f"`ampacity attach {name}` follows it, `ampacity why {name}` says how it is.", style="dim")
    return 0


def _run_array(session: Session, client: Client, spec: WorkloadSpec, indices: str, *, detach: bool) -> int:
    """The exit code."""
    from ampacity.cli.answer import plain, print_line
    from ampacity.cli.array import follow_array
    from ampacity.cli.render.console import tell

    seq = client.status().seq
    made = client.submit_array(spec, indices)
    if session.json:
        print_line({"array": plain(made)})
    elif detach:
        click.echo(made.name)
        tell(f"{len(made.workloads)} elements. `ampacity ps` shows how far it is.", style="dim")
    elif sys.stderr.isatty():
        tell(f"{made.name} submitted: {len(made.workloads)} elements", style="dim")
    return 0 if detach else follow_array(session, client, made, after=seq)


def _keys(command: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """As a workload file has them; what was not said is ``None``."""
    from ampacity.cli.asked import envs_from, name_from, shell_line, volumes_from

    checkpoint = {"dir": given["checkpoint_dir"], "every": given["checkpoint_every"]}
    ranks = given["ranks_per_node"]
    return {
        "name": given["name"] or name_from(command),
        "type": given["kind"] or ("train" if ranks is not None or any(checkpoint.values()) else None),
        "run": shell_line(command),
        "setup": given["setup"],
        "workdir": given["workdir"],
        "envs": envs_from(given["envs"]) or None,
        "secrets": list(given["secrets"]) or None,
        "volumes": volumes_from(given["volumes"]) or None,
        "resources": {key: given[key] for key in ("accelerators", "cpus", "memory", "disk")},
        "num_nodes": given["nodes"],
        "ranks_per_node": ranks,
        "retry": None if given["retry"] is None else {"max": given["retry"]},
        "checkpoint": checkpoint if any(checkpoint.values()) else None,
        "max_duration": given["max_duration"],
        "grace": given["grace"],
        "priority": given["priority"],
        "queue": given["queue"],
        "after": list(given["after"]) or None,
    }

"""``ampacity serve``: a model of the hub becomes a service behind the endpoint."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ampacity.cli.names import MODEL
from ampacity.cli.session import Session, VerbCommand, verb

if TYPE_CHECKING:
    from ampacity.client import Client
    from ampacity.hub.version import ModelVersion


ROUTINGS = ("least_loaded", "round_robin", "session", "prefix")


@click.command(cls=VerbCommand)
@click.argument("model", type=MODEL, metavar="MODEL")
@click.option("--name", help="The service's name. The model's where left out.")
@click.option("--replicas", type=click.IntRange(min=1), metavar="N", help="How many copies.")
@click.option("--engine", default="transformers", show_default=True, help="Who serves it.")
@click.option("--engine-arg", "engine_args", multiple=True, metavar="ARG", help="For the engine; may be repeated.")
@click.option("--served-name", metavar="NAME", help="What clients call the model. Its own name where left out.")
@click.option("-a", "--accelerators", metavar="KIND:N", help="For each replica: H100:1, H100:0.5, or 1 of any kind.")
@click.option("--cpus", metavar="N", help="CPUs for each replica.")
@click.option("--memory", metavar="SIZE", help="Memory for each replica: 4GB.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Requests that a replica takes at once.")
@click.option("--routing", type=click.Choice(ROUTINGS), help="How a replica is chosen. least_loaded where left out.")
@click.option("--hedge-after", metavar="TIME", help="Ask a second replica when no first token has come by then: 2s.")
@click.option(
    "--price",
    metavar="KEY=MONEY,...",
    help="For a million tokens: input=0.5,output=1.5,cached_input=0.1 (any currency).",
)
@click.option("--max-wait", metavar="TIME", help="Who would stand in line for longer is refused at once: 30s.")
@click.option("--add", is_flag=True, help="MODEL is a folder: add it to the hub first.")
@click.option("--wait", is_flag=True, help="Return when a replica is ready.")
@click.option("--timeout", "timeout_s", default=600.0, show_default=True, metavar="SECONDS", help="Wait no longer.")
@verb
def command(
    session: Session, /, model: str, add: bool, wait: bool, timeout_s: float, name: str | None, **given: Any
) -> None:
    """Serve a model behind the OpenAI-compatible endpoint.

    MODEL is NAME, NAME:VERSION or NAME:TAG of the hub; a folder with --add.
    """
    from ampacity.cli.answer import plain, print_json
    from ampacity.cli.asked import slug, spec_from_options
    from ampacity.cli.launch import ensure_running
    from ampacity.cli.ready import wait_until_ready

    if not add:
        _refuse_folder(model)
    ensure_running(session)
    with session.client() as client:
        version = _version(client, model, add=add)
        spec = spec_from_options(_keys(name or slug(version.name), version.ref, given))
        view = client.submit(spec)
        if not session.json:
            click.echo(f"{view.workload.name}: serves {version.ref}")
        if wait:
            view = wait_until_ready(client, view, timeout_s=timeout_s, quiet=session.json)
        gateway_url = client.status().gateway_url
    assert spec.service is not None, "serve makes a service"
    endpoint = f"{gateway_url}/v1" if gateway_url else ""
    served = spec.service.served_name
    if session.json:
        print_json({"workload": plain(view), "model": served, "endpoint": endpoint})
        return
    _say_endpoint(endpoint, served, view.workload.name)


def _keys(name: str, ref: str, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "type": "service",
        "model": ref,
        "engine": given["engine"],
        "engine_args": list(given["engine_args"]) or None,
        "served_name": given["served_name"],
        "replicas": given["replicas"],
        "resources": {key: given[key] for key in ("accelerators", "cpus", "memory")},
        "concurrency": given["concurrency"],
        "routing": given["routing"],
        "hedge_after": given["hedge_after"],
        "price": _price(given["price"]),
        "overload": {"max_wait": given["max_wait"]} if given["max_wait"] else None,
    }


def _price(text: str | None) -> dict[str, float] | None:
    """``input=0.5,output=1.5`` as a file has it; which keys there are is checked as in a file. Raises ``Usage``."""
    from ampacity.cli.failure import Usage

    if text is None:
        return None
    try:
        return {key.strip(): float(value) for key, _, value in (part.partition("=") for part in text.split(","))}
    except ValueError:
        raise Usage(f"--price: {text!r} is no price.", hint="Write it as input=0.5,output=1.5.") from None


def _version(client: Client, model: str, *, add: bool) -> ModelVersion:
    """The hub's version; of a folder, the one that it becomes. Raises ``NotFound``, ``Usage``."""
    from ampacity.cli.asked import slug
    from ampacity.cli.failure import Usage
    from ampacity.cli.render.console import tell

    if not add:
        return client.model(model)
    folder = Path(model).expanduser().absolute()
    if not folder.is_dir():
        raise Usage(f"--add: {model} is not a folder.", hint="Without --add, MODEL is a name of the hub.")
    version = client.add_model(slug(folder.name) or "model", folder)
    tell(f"{version.ref}: added from {folder}", style="dim")
    return version


def _refuse_folder(model: str) -> None:
    """A path was given where a name of the hub belongs. Raises ``Usage``."""
    from ampacity.cli.asked import slug
    from ampacity.cli.failure import Usage

    if ("/" in model or model.startswith((".", "~"))) and Path(model).expanduser().is_dir():
        name = slug(Path(model).expanduser().absolute().name) or "NAME"
        quoted = shlex.quote(model)
        raise Usage(
            f"{model} is a folder; models are served from the hub.",
            hint=f"`ampacity models add {name} {quoted}` adds it; or write `ampacity serve --add {quoted}`.",
        )


def _say_endpoint(endpoint: str, served: str, name: str) -> None:
    from ampacity.cli.render.console import tell

    if not endpoint:
        tell("The endpoint is not up yet. `ampacity status` shows its address when it is.")
        return
    click.echo(f"endpoint: {endpoint}")
    click.echo(f"model:    {served}")
    body = json.dumps({"model": served, "messages": [{"role": "user", "content": "Hello!"}]})
    click.echo(f"\n  curl {endpoint}/chat/completions -H 'Content-Type: application/json' \\\n    -d '{body}'")
    tell(f"\n`ampacity logs -f {name}` shows what it does, `ampacity scale {name} 2` adds a replica.", style="dim")

"""``ampacity bench``: how fast is it?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ampacity.cli.session import Session, VerbGroup, verb

if TYPE_CHECKING:
    from ampacity.cli.bench.arrivals import Arrival
    from ampacity.cli.bench.outcome import Slo, Summary

KEY_VARIABLES = ("AMPACITY_API_KEY", "OPENAI_API_KEY")
BEHIND_S = 0.01
"""A generator that sends so late at the 99th percentile is a part of what it measures."""

_POSITIVE = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=VerbGroup)
@click.pass_context
def group(ctx: click.Context) -> None:
    """Measure an endpoint under load."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@dataclass(frozen=True, slots=True, kw_only=True)
class _When:
    """When requests come, and how large they are."""

    rate: float | None
    duration: str | None
    requests: int | None
    trace: Path | None
    speed: float
    input_tokens: int
    output_tokens: int

    def arrivals(self, seed: int) -> Iterator[Arrival]:
        from ampacity.cli.bench.arrivals import from_trace, poisson
        from ampacity.cli.failure import Usage
        from ampacity.model.quantities import parse_duration

        if self.trace is not None:
            if self.rate is not None or self.duration is not None:
                hint = "Leave out --rate and --duration; --speed makes it faster."
                raise Usage("A trace says when requests come.", hint=hint)
            return islice(from_trace(self.trace, speed=self.speed), self.requests)
        last_s = parse_duration(self.duration or "30s")
        sizes = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        drawn = poisson(self.rate or 4.0, seed=seed, **sizes)
        return islice(takewhile(lambda arrival: arrival.at < last_s, drawn), self.requests)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--rate", type=_POSITIVE, help="Requests a second. [4]"),
            click.option("--duration", metavar="TIME", help="For how long requests come. [30s]"),
            click.option("--requests", type=_COUNT, help="How many come at most."),
            click.option("--trace", type=_FILE, help="Arrivals from this file."),
            click.option("--speed", type=_POSITIVE, default=1.0, help="How much faster the trace runs."),
            click.option("--input-tokens", type=_COUNT, default=128, show_default=True, help="Words of a prompt."),
            click.option("--output-tokens", type=_COUNT, default=64, show_default=True, help="Tokens of an answer."),
            click.option("--slo-ttft", metavar="TIME", help="Good answers begin within this time."),
            click.option("--slo-tpot", metavar="TIME", help="Good answers take no longer for each further token."),
            click.option("--slo-total", metavar="TIME", help="Good answers are complete within this time."),
            click.option("--timeout", metavar="TIME", default="60s", show_default=True, help="An answer's time limit."),
            click.option(
                "--tell-timeout", is_flag=True, help="Tell the endpoint of it: it may refuse what is too late."
            ),
            click.option("--completions", is_flag=True, help="Ask /completions instead of /chat/completions."),
            click.option("--no-stream", is_flag=True, help="Ask for whole answers."),
            click.option("--seed", type=int, default=0, help="Of arrivals and prompts."),
        )
    ):
        function = option(function)
    return function


@group.command()
@click.argument("url", required=False)
@click.option("--model", help="The model to ask. [the only one that is served]")
@click.option("--key", help="The API key.  [$AMPACITY_API_KEY, else $OPENAI_API_KEY]")
@_options
@verb
def serve(session: Session, /, url: str | None, model: str | None, key: str | None, **options: Any) -> None:
    """Send requests to an OpenAI-compatible endpoint at URL (this platform's own where it is left out) and report how
    it answers: time to the first token, time per output token, and goodput.

    Requests come when they come, at random (Poisson) or as in a trace, and wait for no answer; times count from when
    each was due. So an endpoint that stalls is not spared the requests that would have come meanwhile.
    """
    from ampacity.cli.answer import print_json
    from ampacity.cli.bench.exchange import target_of
    from ampacity.cli.bench.load import Ask
    from ampacity.cli.bench.run import measure, only_model
    from ampacity.model.quantities import parse_duration

    seed: int = options["seed"]
    arrivals = _When(**{name: options[name] for name in _When.__dataclass_fields__}).arrivals(seed)
    slo = _slo(options)
    secret = key or next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "")
    target = target_of(url or _own_endpoint(session), secret)
    timeout_s = parse_duration(options["timeout"])
    ask = Ask(
        model=model or only_model(target),
        chat=not options["completions"],
        stream=not options["no_stream"],
        timeout_s=timeout_s,
        told_s=timeout_s if options["tell_timeout"] else None,
        seed=seed,
    )
    summary = measure(target, ask, arrivals, slo, quiet=session.json)
    if session.json:
        print_json(summary)
    else:
        _say(summary, slo)


def _say(summary: Summary, slo: Slo) -> None:
    from ampacity.cli.render.bench import bench_table
    from ampacity.cli.render.console import show, tell

    show(bench_table(summary, slo))
    for error, count in summary.errors.items():
        tell(f"{count} times: {error}", style="yellow")
    if summary.behind is not None and summary.behind.p99 > BEHIND_S:
        tell("The generator itself was late: it shares the machine, or is too slow for this rate.", style="yellow")


def _slo(options: dict[str, Any]) -> Slo:
    from ampacity.cli.bench.outcome import Slo
    from ampacity.model.quantities import parse_duration

    def seconds(name: str) -> float | None:
        text = options[name]
        return None if text is None else parse_duration(text)

    return Slo(ttft_s=seconds("slo_ttft"), tpot_s=seconds("slo_tpot"), total_s=seconds("slo_total"))


def _own_endpoint(session: Session) -> str:
    with session.client() as client:
        return f"{client.status().gateway_url}/v1"

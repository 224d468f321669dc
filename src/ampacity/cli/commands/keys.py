"""``ampacity keys``: who may use the endpoint, and how much."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ampacity.cli.names import KEY
from ampacity.cli.session import Session, VerbGroup, verb

if TYPE_CHECKING:
    from ampacity.model.access import Budget, Limits

NONE = "none"


class _Limit(click.ParamType[Any]):
    """A whole number such as 60 or 100K; ``none`` takes a limit away."""

    name = "N|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value).strip()
        if text == NONE:
            return NONE
        factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
        digits = text[:-1] if factor > 1 else text
        if not digits.isascii() or not digits.isdigit() or int(digits) == 0:
            self.fail(f"{text!r} is no limit. Write a whole number such as 60 or 100K, or {NONE}.", param, ctx)
        return int(digits) * factor


class _BudgetType(click.ParamType[Any]):
    """``20``, ``20/month``, ``1.50/day``; ``none`` takes it away."""

    name = "AMOUNT[/day|/month]|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ampacity.model.access import Budget, BudgetPeriod

        text = str(value).strip()
        if text == NONE:
            return NONE
        amount, _, period = text.partition("/")
        try:
            return Budget(amount=float(amount), period=BudgetPeriod(period or BudgetPeriod.TOTAL))
        except ValueError:
            self.fail(f"{text!r} is no budget. Write it as 20, 20/month or 1.50/day, or {NONE}.", param, ctx)


def _limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--budget", type=_BudgetType(), help="Money that may be spent, by the models' prices."),
        click.option("--concurrency", type=_Limit(), help="Requests at once."),
        click.option("--tokens-per-minute", type=_Limit(), help="Tokens of prompts and answers together."),
        click.option("--requests-per-minute", type=_Limit(), help="Requests a minute."),
    ):
        function = option(function)
    return function


@click.group(cls=VerbGroup)
@click.pass_context
def group(ctx: click.Context) -> None:
    """List the API keys of the endpoint; create, limit and revoke them.

    As long as no key was made, the endpoint asks for none, and listens on this machine only.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(Session), everything=False)


@group.command("list")
@click.option("-a", "--all", "everything", is_flag=True, help="Revoked and expired keys, too.")
@verb
def list_keys(session: Session, everything: bool) -> None:
    """List the project's keys. The keys themselves are known to nobody."""
    _list(session, everything=everything)


@group.command()
@click.argument("name")
@click.option("--model", "models", multiple=True, metavar="NAME", help="A model that it opens; may be repeated. [all]")
@click.option("--expires", metavar="TIME", help="How long it works: 12h, 30d.")
@click.option("--priority", type=click.IntRange(-1000, 1000), default=0, help="Higher goes first where a line forms.")
@click.option("--owner", default="default", help="Whose it is.")
@_limit_options
@verb
def create(
    session: Session,
    /,
    name: str,
    models: tuple[str, ...],
    expires: str | None,
    priority: int,
    owner: str,
    **limits: Any,
) -> None:
    """Make a key NAME and show it, once: it cannot be shown again.

    The first key closes the endpoint for all who have none.
    """
    from ampacity.cli.answer import plain, print_json
    from ampacity.model.access import Limits
    from ampacity.model.quantities import parse_duration

    expires_at = None if expires is None else time.time() + parse_duration(expires)
    with session.client() as client:
        first = client.status().endpoint_open
        made = client.create_key(
            name,
            limits=_changed(Limits(), **limits),
            models=models,
            priority=priority,
            expires_at=expires_at,
            owner=owner,
        )
    if session.json:
        print_json({"key": plain(made.key), "secret": made.secret})
        return
    click.echo(made.secret)
    click.echo(f"This is the key {made.key.name}; it is shown this once and kept nowhere.", err=True)
    if first:
        click.echo("It is the first one: from now on the endpoint lets nobody in without a key.", err=True)


@group.command()
@click.argument("name", type=KEY, required=False)
@click.option("--whole-project", is_flag=True, help="The limits of all keys of the project together.")
@click.option("--weight", type=float, help="With --whole-project: its share where there is not enough for all.")
@_limit_options
@verb
def limit(session: Session, /, name: str | None, whole_project: bool, weight: float | None, **limits: Any) -> None:
    """Change limits of the key NAME, or of the whole project. Those that are not named stay; `none` takes one away."""
    from ampacity.cli.failure import Usage

    if (name is None) != whole_project:
        raise Usage("Give the NAME of a key, or --whole-project.")
    if weight is not None and not whole_project:
        raise Usage("--weight belongs to --whole-project.")
    if whole_project:
        _limit_project(session, weight, limits)
    elif name is not None:
        _limit_key(session, name, limits)


def _limit_key(session: Session, name: str, limits: dict[str, Any]) -> None:
    from ampacity.cli.answer import print_json
    from ampacity.model.access import Limits, limits_words

    with session.client() as client:
        standing = next((key.limits for key in client.api_keys(all=True) if name in (key.name, key.id)), Limits())
        key = client.limit_key(name, _changed(standing, **limits))
    if session.json:
        print_json(key)
        return
    click.echo(f"{key.name}: {limits_words(key.limits)}")


def _limit_project(session: Session, weight: float | None, limits: dict[str, Any]) -> None:
    from ampacity.cli.answer import print_json
    from ampacity.model.access import limits_words

    with session.client() as client:
        standing = client.limits()
        row = client.set_limits(
            _changed(standing.limits, **limits), weight=standing.weight if weight is None else weight
        )
    if session.json:
        print_json(row)
        return
    click.echo(f"project {row.project}: {limits_words(row.limits)}, weight {row.weight:g}")


@group.command()
@click.argument("names", nargs=-1, required=True, type=KEY, metavar="NAME...")
@verb
def revoke(session: Session, names: tuple[str, ...]) -> None:
    """Make keys useless for ever. The endpoint stays closed, even without any key left."""
    from ampacity.cli.answer import plain, print_json

    revoked = []
    with session.client() as client:
        for name in names:
            revoked.append(client.revoke_key(name))
            if not session.json:
                click.echo(f"{name}: revoked")
    if session.json:
        print_json({"keys": plain(revoked)})


def _changed(limits: Limits, **given: int | str | Budget | None) -> Limits:
    """``None`` leaves a limit, ``none`` takes it away."""
    named = {name: None if value == NONE else value for name, value in given.items() if value is not None}
    return replace(limits, **named)  # type: ignore[arg-type]


def _list(session: Session, *, everything: bool) -> None:
    from ampacity.cli.answer import print_json

    with session.client() as client:
        keys = client.api_keys(all=everything)
        is_open = client.status().endpoint_open
    if session.json:
        print_json({"keys": keys, "endpoint_open": is_open})
        return
    from ampacity.cli.render.console import show, tell
    from ampacity.cli.render.keys import keys_table

    if keys:
        show(keys_table(keys, now=time.time()))
        return
    state = "the endpoint is open to all on this machine" if is_open else "nobody of it gets in"
    tell(f"No keys in the project {session.project}: {state}. `ampacity keys create NAME` makes one.", style="dim")

"""``ampacity usage``: what requests to models have used."""

from __future__ import annotations

import time

import click

from ampacity.cli.session import Session, VerbCommand, verb

BY = ("project", "key", "model", "replica", "day", "hour")


@click.command(cls=VerbCommand)
@click.option(
    "--by", "by", multiple=True, type=click.Choice(BY), help="Tell apart by this; may be repeated. [key, model]"
)
@click.option("--since", metavar="TIME", default="30d", show_default=True, help="How far back: 24h, 7d.")
@click.option("--all-projects", is_flag=True, help="Of every project, told apart.")
@verb
def command(session: Session, by: tuple[str, ...], since: str, all_projects: bool) -> None:
    """Show what requests to models have used: tokens, times and money.

    Sums are those of whole hours (UTC), and are in the books within seconds.
    """
    from ampacity.cli.answer import print_json
    from ampacity.model.quantities import parse_duration
    from ampacity.model.request_usage import HOUR_S, UsageBy

    chosen = [UsageBy(each) for each in by or ("key", "model")]
    if all_projects and UsageBy.PROJECT not in chosen:
        chosen.insert(0, UsageBy.PROJECT)
    start = max(0.0, time.time() - parse_duration(since)) // HOUR_S * HOUR_S
    with session.client() as client:
        report = client.usage(by=chosen, since=start, all_projects=all_projects)
    if session.json:
        print_json(report)
        return
    from ampacity.cli.render.console import show, tell
    from ampacity.cli.render.usage import usage_table

    if report.sums:
        show(usage_table(report))
    else:
        tell(f"Nothing was used in the last {since}.", style="dim")
    if report.lost:
        tell(f"The usage of {report.lost} requests was lost for want of room.", style="yellow")

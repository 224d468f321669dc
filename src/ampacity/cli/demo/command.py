"""The verb ``ampacity demo``."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

import click

from ampacity.model.errors import AmpacityError, UserError

NEEDED = ("torch", "transformers", "tokenizers", "openai", "numpy", "fastapi")


@click.command()
@click.option("--steps", type=click.IntRange(min=700), default=700, show_default=True, help="Training steps.")
@click.option("--report", "report_dir", type=click.Path(path_type=Path), default=Path("report"), show_default=True)
@click.option("--keep", is_flag=True, help="Keep the state folder and say where it is.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON at the end.")
def command(steps: int, report_dir: Path, keep: bool, as_json: bool) -> None:
    """Train a small model through a crash, host it, serve it, and check that nothing was lost.

    Takes a few minutes on two cores, in a temporary state folder; nothing else on this machine is touched.
    """
    _need_packages()
    root = Path(tempfile.mkdtemp(prefix="ampacity-demo-"))
    try:
        passed = _play(root, steps=steps, report_dir=report_dir, as_json=as_json)
    finally:
        if keep:
            click.echo(f"kept: {root}", err=True)
        else:
            shutil.rmtree(root, ignore_errors=True)
    sys.exit(0 if passed else 1)


def _need_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"The demo needs {', '.join(missing)}.", hint="Install them with: pip install 'ampacity[demo]'")


def _play(root: Path, *, steps: int, report_dir: Path, as_json: bool) -> bool:
    from rich.console import Console

    from .platform import Platform
    from .report_html import write_html
    from .report_text import text_report
    from .screen import TerminalScreen
    from .story import Story

    work = root / "work"
    work.mkdir()
    screen = TerminalScreen(Console(stderr=as_json))
    story = Story(Platform(root / "state"), work, screen, steps=steps)
    trouble: Exception | None = None
    try:
        story.play()
    except (AmpacityError, TimeoutError, LookupError) as error:
        trouble = error
    finally:
        story.clean_up()
        screen.close()
    if trouble is not None:
        raise AmpacityError(f"The demo could not go on: {trouble}") from trouble
    findings = story.findings
    report_dir.mkdir(parents=True, exist_ok=True)
    write_html(findings, report_dir / "report.html")
    (report_dir / "report.txt").write_text(text_report(findings))
    findings.write_json(report_dir / "report.json")
    screen.console.print("\n" + text_report(findings), highlight=False, markup=False, soft_wrap=True)
    screen.console.print(f"The report: {report_dir / 'report.html'}", highlight=False)
    if as_json:
        click.echo((report_dir / "report.json").read_text(), nl=False)
    return findings.passed()

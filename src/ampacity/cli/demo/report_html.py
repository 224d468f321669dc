"""The demo's report as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from .charts import Bar, Mark, dot_chart, line_chart, timeline
from .findings import Findings

_STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")


def write_html(findings: Findings, path: Path) -> None:
    """Write the page. Raises ``OSError``."""
    sections = [_checks(findings), _training(findings), _faults(findings), _timeline(findings)]
    sections += [_serving(findings), _lineage(findings), _parts(findings)]
    verdict = "Everything held." if findings.passed() else "Something did not hold: see the checks."
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Ampacity demo</title><style>{_STYLE}</style><main><h1>A model, trained through a crash and served</h1>"
        f"<p>{escape(verdict)} {len(findings.parts)} parts in {findings.ended - findings.began:.0f} s.</p>"
        f"{_tiles(findings)}{''.join(sections)}"
        "<footer>Every figure on this page was measured in this run.</footer></main></html>"
    )
    path.write_text(page, encoding="utf-8")


def _tiles(findings: Findings) -> str:
    size = findings.model.weights.parameters / 1e6 if findings.model else float("nan")
    failed = sum(1 for answer in findings.answers if answer.error)
    tiles = [
        (f"{size:.1f} M", "parameters"),
        (f"{findings.validation_loss:.2f}", "validation loss"),
        (f"{findings.tokens_per_s():,.0f}", "tokens/s, crash included"),
        (f"{_training_outage_s(findings):.1f} s", "until the ranks went on"),
        (f"{len(findings.answers) - failed}/{len(findings.answers)}", "requests answered"),
        (f"{findings.latency_s(0.5) * 1e3:.0f} ms", "median request"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{a}</b><span>{b}</span></div>' for a, b in tiles)
        + "</div>"
    )


def _training_outage_s(findings: Findings) -> float:
    found = findings.resumption()
    return float("nan") if found is None else found[1].at - found[0].at


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    top = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>" if head else ""
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if i in numbers else ''}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table>{top}{body}</table>"


def _checks(findings: Findings) -> str:
    rows = [
        (
            f'<span class="{"ok" if c.passed else "bad"}">{"held" if c.passed else "broken"}</span>',
            escape(c.name),
            escape(c.detail),
        )
        for c in findings.checks()
    ]
    return f"<section><h2>Checks</h2>{_table((), rows)}</section>"


def _training(findings: Findings) -> str:
    points = findings.losses()
    if len(points) < 2:
        return ""
    origin = points[0].at
    curve = [(point.at - origin, point.loss or 0.0) for point in points]
    window = 12
    smooth = [
        (curve[i][0], sum(b for _, b in curve[max(0, i - window) : i + 1]) / (i + 1 - max(0, i - window)))
        for i in range(len(curve))
    ]
    marks = [Mark(x=fault.at - origin, label=fault.what) for fault in findings.faults if fault.at < points[-1].at]
    chart = line_chart(
        curve, x_label="seconds since the first step", y_label="loss, nats per token", marks=marks, smooth=smooth
    )
    found = findings.resumption()
    words = "It was never resumed."
    if found is not None:
        words = (
            f"A rank was killed at step {found[0].step}; the ranks went on at step {found[1].step} "
            f"from their checkpoint. "
            f"{findings.steps_repeated()} steps were made twice."
        )
    return f"<section><h2>Training</h2><p>{escape(words)}</p>{chart}</section>"


def _faults(findings: Findings) -> str:
    rows = [
        (escape(f.what), f"{f.at - findings.began:.1f} s", f"{f.recovered_at - f.at:.2f} s", escape(f.detail))
        for f in findings.faults
    ]
    head = ("Killed with SIGKILL", "At", "All well after", "")
    return f"<section><h2>Faults</h2>{_table(head, rows)}</section>"


def _timeline(findings: Findings) -> str:
    bars = [
        Bar(row=s.row, label=s.label, begin=s.began - findings.began, end=s.ended - findings.began, kind=s.outcome)
        for s in findings.spans
    ]
    if not bars:
        return ""
    marks = [Mark(x=f.at - findings.began, label=f.what) for f in findings.faults]
    chart = timeline(bars, marks, x_label="seconds since the start")
    return f"<section><h2>What ran when</h2><p>One row a replica, one bar an attempt.</p>{chart}</section>"


def _serving(findings: Findings) -> str:
    answers = [answer for answer in findings.answers if not answer.error]
    if not answers:
        return ""
    origin = answers[0].at
    marks = [Mark(x=f.at - origin, label=f.what) for f in findings.faults if f.at >= origin]
    dots = dot_chart(
        [(a.at - origin, a.seconds * 1e3) for a in answers],
        x_label="seconds since the first request",
        y_label="milliseconds",
        marks=marks,
    )
    rows = [[f"p{q}", f"{findings.latency_s(q / 100) * 1e3:.0f} ms"] for q in (50, 95, 99)]
    rows.append(["first token, streamed", f"{findings.first_token_s * 1e3:.0f} ms"])
    text = "<p>The model goes on with the grey text:</p>"
    text += f"<pre><em>{escape(findings.prompt)}</em>{escape(findings.completion)}</pre>"
    return f"<section><h2>Serving</h2>{dots}{_table((), rows, (1,))}{text}</section>"


def _lineage(findings: Findings) -> str:
    model = findings.model
    if model is None:
        return ""
    lineage = model.lineage
    rows = [
        ("Model", f"<code>{escape(model.ref)}</code> ({escape(', '.join(model.tags) or 'no tags')})"),
        ("Contents", f"<code>{escape(model.digest)}</code>, {len(model.files)} files, {model.size_bytes / 1e6:.1f} MB"),
        ("Architecture", escape(model.architecture)),
        ("Run", f"{escape(lineage.run_name)} <code>{escape(lineage.run)}</code>, step {lineage.step}"),
        ("Code", f"<code>{escape(lineage.code_revision or 'unknown')}</code>"),
        ("Data", f"<code>{escape(', '.join(lineage.data) or 'unknown')}</code>"),
        ("Checkpoint", f"<code>{escape(lineage.checkpoint or 'none')}</code>"),
    ]
    return f"<section><h2>Where the model came from</h2>{_table((), rows)}</section>"


def _parts(findings: Findings) -> str:
    rows = [(escape(part.name), f"{part.seconds:.1f} s") for part in findings.parts]
    return f"<section><h2>Time, part by part</h2>{_table((), rows, (1,))}</section>"

"""The demo's figures and checks are computed, and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ampacity.cli.demo.charts import Bar, Mark, axis, dot_chart, line_chart, timeline
from ampacity.cli.demo.findings import Answer, Fault, Findings, Part, Span
from ampacity.cli.demo.report_html import write_html
from ampacity.cli.demo.report_text import text_report
from ampacity.hub.version import Lineage, ModelVersion, Weights
from ampacity.model.view import ProgressPoint


def point(step: int, at: float, loss: float, incarnation: int = 0) -> ProgressPoint:
    return ProgressPoint(at=at, epoch=1, incarnation=incarnation, step=step, loss=loss, tokens=step * 1000)


def resumed_run(loss_after: float = 4.0) -> tuple[ProgressPoint, ...]:
    """Steps 1 to 30, killed, resumed at 21, on to 60."""
    first = [point(step, float(step), 4.0) for step in range(1, 31)]
    again = [point(step, 20.0 + step, loss_after, incarnation=1) for step in range(21, 61)]
    return (*first, *again)


def good_findings() -> Findings:
    findings = Findings(began=0.0, ended=100.0, steps=60, points=resumed_run(), validation_loss=3.5)
    findings.answers = [Answer(at=float(i), seconds=0.1 * (i + 1), tokens=16) for i in range(10)]
    return findings


def broken(findings: Findings) -> list[str]:
    return [check.name for check in findings.checks() if not check.passed]


def test_a_good_run_passes_every_check() -> None:
    assert broken(good_findings()) == []
    assert good_findings().passed()


def test_steps_that_were_made_twice_are_counted() -> None:
    assert good_findings().steps_repeated() == 10


def test_tokens_per_second_counts_the_time_lost() -> None:
    assert good_findings().tokens_per_s() == pytest.approx(59_000 / 79)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"validation_loss": 7.6}, "the model learned"),
        (
            {"points": tuple(point(step, float(step), 4.0) for step in range(1, 61))},
            "the run went on from its checkpoint",
        ),
        ({"points": resumed_run(loss_after=7.0)}, "the loss curve shows no jump"),
        ({"answers": []}, "no request was lost"),
        ({"answers": [Answer(at=0, seconds=1, tokens=0, error="APIError: gone")]}, "no request was lost"),
        ({"left_over": ["4711 python train.py"]}, "no process is left"),
    ],
)
def test_each_check_can_fail(change: dict[str, object], name: str) -> None:
    findings = good_findings()
    for field, value in change.items():
        setattr(findings, field, value)
    assert name in broken(findings)
    assert not findings.passed()


def test_a_run_that_begins_again_from_nothing_is_not_a_resumption() -> None:
    findings = good_findings()
    again = [point(step, 40.0 + step, 4.0, incarnation=1) for step in range(1, 61)]
    findings.points = (*(point(step, float(step), 4.0) for step in range(1, 31)), *again)
    assert "the run went on from its checkpoint" in broken(findings)


def test_latency_quantiles_leave_failed_requests_out() -> None:
    findings = good_findings()
    findings.answers.append(Answer(at=11.0, seconds=90.0, tokens=0, error="x"))
    assert findings.latency_s(0.5) == pytest.approx(0.6)
    assert findings.latency_s(0.99) == pytest.approx(1.0)


def test_reports_show_what_was_found_and_escape_it(tmp_path: Path) -> None:
    findings = good_findings()
    findings.parts.append(Part(name="train <fast>", began=0.0, ended=80.0))
    findings.spans.append(Span(row="tiny", label="a&b", began=0.0, ended=80.0, outcome="succeeded"))
    findings.faults.append(Fault(what="rank 1", at=30.0, recovered_at=41.0, detail="restarted"))
    findings.prompt, findings.completion = "def f(", "a < b):\n    return a"
    findings.model = ModelVersion(
        name="tiny",
        version=3,
        digest="sha256:00",
        created_at=0.0,
        files=(),
        size_bytes=10,
        weights=Weights(parameters=1234),
        lineage=Lineage(run="w1", run_name="tiny", step=60, data=("text@sha256:11",)),
    )
    write_html(findings, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    text = text_report(findings)
    assert "train &lt;fast&gt;" in page
    assert "a &lt; b" in page
    assert "tiny:3" in page
    assert "11.00 s" in text
    assert "1,234 parameters" in text
    findings.write_json(tmp_path / "report.json")
    plain = json.loads((tmp_path / "report.json").read_text())
    assert plain["faults"][0]["seconds"] == pytest.approx(11.0)
    assert plain["parts"] == {"train <fast>": 80.0}


def test_axis_ticks_are_round_and_inside() -> None:
    found = axis([0.13, 9.7], 0.0, 100.0).ticks(5)
    assert found == [2.0, 4.0, 6.0, 8.0]


def test_charts_put_every_value_inside_the_frame() -> None:
    points = [(0.0, 5.0), (10.0, -3.0), (20.0, 900.0)]
    chart = line_chart(points, x_label="x", y_label="y", marks=[Mark(x=50.0, label="beyond")])
    assert chart.count("<polyline") == 1
    assert "beyond" in chart
    assert dot_chart(points, x_label="x", y_label="y").count("<circle") == 3
    bars = [
        Bar(row="a", label="1", begin=0.0, end=5.0, kind="failed"),
        Bar(row="a", label="2", begin=5.0, end=9.0, kind="x"),
    ]
    assert timeline(bars, [], x_label="s").count("<rect") == 2

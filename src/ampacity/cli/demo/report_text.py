"""The demo's report as plain text."""

from __future__ import annotations

from .findings import Findings


def text_report(findings: Findings) -> str:
    """The whole report, some eighty columns wide."""
    return "\n".join(
        [*_head(findings), *_faults(findings), *_serving(findings), *_lineage(findings), *_parts(findings)]
    )


def _head(findings: Findings) -> list[str]:
    lines = ["A model, trained through a crash and served", ""]
    for check in findings.checks():
        lines.append(f"  {'held  ' if check.passed else 'BROKEN'}  {check.name}: {check.detail}")
    size = findings.model.weights.parameters if findings.model else 0
    lines += [
        "",
        f"  {size:,} parameters, {findings.steps} steps, {findings.tokens_per_s():,.0f} tokens/s, crash included",
    ]
    found = findings.resumption()
    if found is not None:
        lines.append(
            f"  killed at step {found[0].step}, next step {found[1].step} after {found[1].at - found[0].at:.1f} s; "
            f"{findings.steps_repeated()} steps made twice"
        )
    return lines


def _faults(findings: Findings) -> list[str]:
    lines = ["", "Killed with SIGKILL"]
    for fault in findings.faults:
        well = fault.recovered_at - fault.at
        lines.append(f"  {fault.at - findings.began:6.1f} s  {fault.what:<16} all well after {well:5.2f} s")
        lines.append(f"            {fault.detail}")
    return lines


def _serving(findings: Findings) -> list[str]:
    good = sum(1 for answer in findings.answers if not answer.error)
    times = "  ".join(f"p{q} {findings.latency_s(q / 100) * 1e3:.0f} ms" for q in (50, 95, 99))
    shown = [f"  | {line}" for line in (findings.prompt + findings.completion).splitlines()]
    return [
        "",
        "Serving",
        f"  {good} of {len(findings.answers)} requests answered: {times}",
        f"  first token, streamed: {findings.first_token_s * 1e3:.0f} ms",
        *shown,
    ]


def _lineage(findings: Findings) -> list[str]:
    if findings.model is None:
        return []
    model, lineage = findings.model, findings.model.lineage
    return [
        "",
        "Where the model came from",
        f"  {model.ref}  {model.digest}",
        f"  run {lineage.run_name} ({lineage.run}), step {lineage.step}",
        f"  code {lineage.code_revision or 'unknown'}",
        f"  data {', '.join(lineage.data) or 'unknown'}",
        f"  checkpoint {lineage.checkpoint or 'none'}",
    ]


def _parts(findings: Findings) -> list[str]:
    lines = ["", "Time, part by part"]
    lines += [f"  {part.seconds:7.1f} s  {part.name}" for part in findings.parts]
    return [*lines, f"  {findings.ended - findings.began:7.1f} s  in all", ""]

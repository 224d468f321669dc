"""What a measurement under load has found."""

from __future__ import annotations

from rich.table import Table

from ampacity.cli.bench.outcome import Slo, Spread, Summary

from .table import pairs


def bench_table(summary: Summary, slo: Slo) -> Table:
    """Counts, rates, and times with their spread."""
    table = pairs()
    table.add_row("requests", _counts(summary))
    table.add_row("offered", f"{summary.offered_per_s:.2f}/s over {summary.came_s:.1f} s")
    table.add_row("answered", f"{summary.answered_per_s:.2f}/s, {summary.output_tokens_per_s:.1f} tokens/s")
    table.add_row("goodput", f"{summary.goodput_per_s:.2f}/s, {summary.good_percent:.1f}%{_objectives(slo)}")
    for name, spread in (("first token", summary.ttft), ("per token", summary.tpot), ("whole answer", summary.total)):
        if spread is not None:
            table.add_row(name, _spread(spread))
    return table


def _counts(summary: Summary) -> str:
    rest = ((summary.refused, "refused"), (summary.late, "without an answer in time"), (summary.failed, "failed"))
    parts = [f"{summary.requests} sent", f"{summary.answered} answered"]
    return ", ".join([*parts, *(f"{count} {word}" for count, word in rest if count)])


def _objectives(slo: Slo) -> str:
    limits = (("the first token", slo.ttft_s), ("each further one", slo.tpot_s), ("all of it", slo.total_s))
    parts = [f"{word} within {_time(limit_s)}" for word, limit_s in limits if limit_s is not None]
    return f" ({', '.join(parts)})" if parts else " (any answer)"


def _spread(spread: Spread) -> str:
    named = (("mean", spread.mean), ("p50", spread.p50), ("p90", spread.p90), ("p99", spread.p99), ("max", spread.max))
    return ", ".join(f"{name} {_time(value)}" for name, value in named)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"

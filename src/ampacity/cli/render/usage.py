"""What requests have used, as a table."""

from __future__ import annotations

import time

from ampacity.api.answers import UsageReport
from ampacity.model.request_usage import DAY_S, RequestSum

from .table import Column, Listing
from .units import about_count

_COLUMNS = (
    Column("FROM"),
    Column("PROJECT", gives=True),
    Column("KEY", gives=True),
    Column("MODEL", gives=True),
    Column("REPLICA", gives=True),
    Column("REQUESTS", right=True),
    Column("FAILED", right=True),
    Column("INPUT", right=True),
    Column("CACHED", right=True),
    Column("OUTPUT", right=True),
    Column("TTFT", right=True),
    Column("TIME", right=True),
    Column("COST", right=True),
)


def usage_table(report: UsageReport) -> Listing:
    """A line for each sum; times are means."""
    table = Listing(_COLUMNS)
    for each in report.sums:
        table.add(
            _start(each.start),
            each.project,
            report.names.get(each.key, each.key),
            each.model,
            each.replica,
            about_count(each.requests),
            about_count(each.failed) if each.failed else "",
            about_count(each.input_tokens),
            _cached(each),
            about_count(each.output_tokens),
            _mean(each.ttft_s, each.ttft_count),
            _mean(each.total_s, each.requests),
            f"{each.money:.4g}" if each.money else "",
        )
    return table


def _start(start: int) -> str:
    if not start:
        return ""
    return time.strftime("%Y-%m-%d" if start % DAY_S == 0 else "%Y-%m-%d %H:%M", time.gmtime(start))


def _cached(each: RequestSum) -> str:
    return f"{100 * each.cached_tokens / each.input_tokens:.0f}%" if each.cached_tokens else ""


def _mean(total_s: float, count: int) -> str:
    if not count:
        return ""
    mean_s = total_s / count
    return f"{mean_s:.2f}s" if mean_s >= 0.1 else f"{mean_s * 1000:.0f}ms"

"""Requests as histograms for Prometheus, under OpenTelemetry's names (semantic conventions for generative AI, with the
buckets that they advise). Pure: records in, text out; those of several processes add up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from ampacity.model.request_usage import RequestRecord

DURATION_S = tuple(0.01 * 2.0**n for n in range(14))
TTFT_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TPOT_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(float(4**n) for n in range(14))

HISTOGRAMS = {
    "gen_ai_server_request_duration_seconds": (DURATION_S, "How long requests took, from their arrival to their end."),
    "gen_ai_server_time_to_first_token_seconds": (TTFT_S, "How long streams took to their first token."),
    "gen_ai_server_time_per_output_token_seconds": (TPOT_S, "How long each token after the first one took."),
    "gen_ai_client_token_usage": (TOKENS, "How many tokens requests had and answers took."),
}


class Histogram(msgspec.Struct):
    """``counts[i]``: how many were at most the i-th bound and above the one before; the last one: above all."""

    counts: list[int]
    total: float = 0.0

    def observe(self, values: Iterable[float], bounds: tuple[float, ...]) -> None:
        """Many at once: sorted, each bound is looked for once."""
        ordered = sorted(values)
        below = 0
        for place, bound in enumerate(bounds):
            upto = bisect_right(ordered, bound, below)
            self.counts[place] += upto - below
            below = upto
        self.counts[-1] += len(ordered) - below
        self.total += sum(ordered)

    def add(self, other: Histogram) -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Meters(msgspec.Struct):
    """``series``: by the metric's name, then by its labels as they are written. ``lost``: records without room.
    ``routed``: requests to routes, by their labels; ``left_out``: copies for shadows that were not made."""

    series: dict[str, dict[str, Histogram]] = msgspec.field(default_factory=dict)
    lost: int = 0
    left_out: int = 0
    routed: dict[str, int] = msgspec.field(default_factory=dict)

    def observe(self, records: Iterable[RequestRecord]) -> None:
        alike: dict[tuple[str, int], list[RequestRecord]] = {}
        for record in records:
            alike.setdefault((record.model, record.status), []).append(record)
            if record.route:
                self._observe_routed(record)
        for (model, _), found in alike.items():
            self._observe_alike(f'gen_ai_request_model="{_escaped(model)}"', found)

    def _observe_routed(self, record: RequestRecord) -> None:
        names = (("route", record.route), ("gen_ai_request_model", record.model), ("reason", record.reason or "share"))
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in names)
        self.routed[labels] = self.routed.get(labels, 0) + 1

    def _observe_alike(self, model: str, records: list[RequestRecord]) -> None:
        """Records of one model and status: their labels are written once."""
        outcome = model + (f',error_type="{records[0].status}"' if records[0].failed else "")
        self._note("gen_ai_server_request_duration_seconds", outcome, [each.total_s for each in records])
        given, made = model + ',gen_ai_token_type="input"', model + ',gen_ai_token_type="output"'
        self._note("gen_ai_client_token_usage", given, [each.input_tokens for each in records])
        self._note("gen_ai_client_token_usage", made, [each.output_tokens for each in records])
        streams = [(each, each.ttft_s) for each in records if each.ttft_s is not None]
        self._note("gen_ai_server_time_to_first_token_seconds", model, [ttft_s for _, ttft_s in streams])
        each_s = [
            (each.total_s - ttft_s) / (each.output_tokens - 1) for each, ttft_s in streams if each.output_tokens > 1
        ]
        self._note("gen_ai_server_time_per_output_token_seconds", model, each_s)

    def _note(self, name: str, labels: str, values: Sequence[float]) -> None:
        if values:
            self._of(name, labels).observe(values, HISTOGRAMS[name][0])

    def _of(self, name: str, labels: str) -> Histogram:
        found = self.series.setdefault(name, {}).get(labels)
        if found is None:
            found = self.series[name][labels] = Histogram([0] * (len(HISTOGRAMS[name][0]) + 1))
        return found

    def add(self, other: Meters) -> None:
        """Take another process's as well."""
        for name, by_labels in other.series.items():
            for labels, histogram in by_labels.items():
                self._of(name, labels).add(histogram)
        for labels, count in other.routed.items():
            self.routed[labels] = self.routed.get(labels, 0) + count
        self.lost += other.lost
        self.left_out += other.left_out

    def text(self) -> str:
        """The exposition format, 0.0.4."""
        lines: list[str] = []
        for name, (bounds, what) in HISTOGRAMS.items():
            lines += [f"# HELP {name} {what}", f"# TYPE {name} histogram"]
            for labels, histogram in sorted(self.series.get(name, {}).items()):
                lines += _series(name, labels, histogram, bounds)
        name = "ampacity_gateway_usage_records_lost_total"
        lines += [
            f"# HELP {name} Records of usage that found no room.",
            f"# TYPE {name} counter",
            f"{name} {self.lost}",
        ]
        return "\n".join(lines + self._routes()) + "\n"

    def _routes(self) -> list[str]:
        requests, shadows = "ampacity_gateway_routed_requests_total", "ampacity_gateway_shadows_left_out_total"
        return [
            f"# HELP {requests} Requests to routes, by the model that answered and why it was this one.",
            f"# TYPE {requests} counter",
            *(f"{requests}{{{labels}}} {count}" for labels, count in sorted(self.routed.items())),
            f"# HELP {shadows} Copies for shadows that were not made: too many, too long, or nobody there.",
            f"# TYPE {shadows} counter",
            f"{shadows} {self.left_out}",
        ]


def _series(name: str, labels: str, histogram: Histogram, bounds: tuple[float, ...]) -> list[str]:
    lines, so_far = [], 0
    for bound, count in zip((*[f"{bound:g}" for bound in bounds], "+Inf"), histogram.counts, strict=True):
        so_far += count
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {so_far}')
    return [*lines, f"{name}_sum{{{labels}}} {histogram.total:.9g}", f"{name}_count{{{labels}}} {so_far}"]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""Sending by the SDK's OTLP exporters over HTTP. The only module that imports OpenTelemetry; it takes its time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import export as points
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from ampacity import __version__
from ampacity.observe.exposition import Family, Kind

from .life import ROOT, span_id, trace_id
from .spans import Span

NANO = 10**9
SCOPE = InstrumentationScope("ampacity", __version__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDraft:
    """One log record. ``trace``: the workload that it is about."""

    at: float
    text: str
    event_name: str = ""
    error: bool = False
    trace: str = ""
    attributes: Mapping[str, str | int] = field(default_factory=dict)


class Otlp:
    """One exporter for each signal that is wanted. A call blocks until it is sent (``True``) or given up."""

    def __init__(self, signals: Iterable[str], *, service_name: str, began_at: float) -> None:
        self._resource = Resource.create({"service.name": service_name, "service.version": __version__})
        self._began = round(began_at * NANO)
        self._spans = OTLPSpanExporter() if "traces" in signals else None
        self._metrics = OTLPMetricExporter() if "metrics" in signals else None
        self._logs = OTLPLogExporter() if "logs" in signals else None

    def send_spans(self, drafts: Sequence[Span]) -> bool:
        assert self._spans is not None, "traces are wanted"
        return self._spans.export([self._span(draft) for draft in drafts]) is SpanExportResult.SUCCESS

    def send_logs(self, drafts: Sequence[LogDraft]) -> bool:
        assert self._logs is not None, "logs are wanted"
        return self._logs.export([self._log(draft) for draft in drafts]) is LogRecordExportResult.SUCCESS

    def send_metrics(self, families: Sequence[Family], at: float) -> bool:
        assert self._metrics is not None, "metrics are wanted"
        metrics = [self._metric(family, round(at * NANO)) for family in families if family.samples]
        scoped = points.ScopeMetrics(scope=SCOPE, metrics=metrics, schema_url="")
        of_resource = points.ResourceMetrics(resource=self._resource, scope_metrics=[scoped], schema_url="")
        found = self._metrics.export(points.MetricsData(resource_metrics=[of_resource]))
        return found is points.MetricExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent, and send nothing more."""
        for exporter in (self._spans, self._metrics, self._logs):
            if exporter is not None:
                exporter.shutdown()

    def _span(self, draft: Span) -> ReadableSpan:
        parent = None if draft.parent_id is None else _context(draft.trace_id, draft.parent_id)
        return ReadableSpan(
            name=draft.name,
            kind=SpanKind[draft.kind.name],
            context=_context(draft.trace_id, draft.span_id),
            parent=parent,
            resource=self._resource,
            attributes=dict(draft.attributes),
            status=Status(StatusCode.ERROR, draft.failed) if draft.failed else Status(StatusCode.UNSET),
            start_time=round(draft.began_at * NANO),
            end_time=round(draft.ended_at * NANO),
            instrumentation_scope=SCOPE,
        )

    def _log(self, draft: LogDraft) -> ReadableLogRecord:
        at = round(draft.at * NANO)
        severity = SeverityNumber.ERROR if draft.error else SeverityNumber.INFO
        context = None
        if draft.trace:
            about = _context(trace_id(draft.trace), span_id(draft.trace, ROOT))
            context = set_span_in_context(NonRecordingSpan(about))
        record = LogRecord(
            timestamp=at,
            observed_timestamp=at,
            context=context,
            severity_text=severity.name,
            severity_number=severity,
            body=draft.text,
            attributes=dict(draft.attributes),
            event_name=draft.event_name or None,
        )
        return ReadableLogRecord(log_record=record, resource=self._resource, instrumentation_scope=SCOPE)

    def _metric(self, family: Family, at: int) -> points.Metric:
        data: points.Gauge | points.Sum | points.Histogram
        cumulative = points.AggregationTemporality.CUMULATIVE
        match family.kind:
            case Kind.HISTOGRAM:
                data = points.Histogram(data_points=self._histograms(family, at), aggregation_temporality=cumulative)
            case Kind.COUNTER:
                numbers = self._numbers(family, at)
                data = points.Sum(data_points=numbers, aggregation_temporality=cumulative, is_monotonic=True)
            case Kind.GAUGE:
                data = points.Gauge(data_points=self._numbers(family, at))
        return points.Metric(name=family.name, description=family.help, unit="", data=data)

    def _numbers(self, family: Family, at: int) -> list[points.NumberDataPoint]:
        return [
            points.NumberDataPoint(
                attributes=dict(labels), start_time_unix_nano=self._began, time_unix_nano=at, value=float(value)
            )
            for _, labels, value in family.samples
        ]

    def _histograms(self, family: Family, at: int) -> list[points.HistogramDataPoint]:
        """From the samples as Prometheus has them: buckets that hold all that are smaller."""
        found: dict[tuple[tuple[str, str], ...], dict[str, list[tuple[str, float]]]] = {}
        for suffix, labels, value in family.samples:
            own = tuple(label for label in labels if label[0] != "le")
            found.setdefault(own, {}).setdefault(suffix, []).append((dict(labels).get("le", ""), value))
        told = []
        for own, parts in found.items():
            totals = [value for _, value in parts["_bucket"]]
            counts = [int(now - before) for before, now in zip([0.0, *totals], totals, strict=False)]
            told.append(
                points.HistogramDataPoint(
                    attributes=dict(own),
                    start_time_unix_nano=self._began,
                    time_unix_nano=at,
                    count=int(parts["_count"][0][1]),
                    sum=parts["_sum"][0][1],
                    bucket_counts=counts,
                    explicit_bounds=[float(bound) for bound, _ in parts["_bucket"][:-1]],
                    min=None,  # type: ignore[arg-type]  # not known: left out on the wire
                    max=None,  # type: ignore[arg-type]
                )
            )
        return told


def _context(trace: int, span: int) -> SpanContext:
    return SpanContext(trace_id=trace, span_id=span, is_remote=False, trace_flags=_SAMPLED)

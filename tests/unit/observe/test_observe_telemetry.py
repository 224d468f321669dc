"""OpenTelemetry: what is switched on, what is told, and what a receiver gets of it over OTLP/HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member
from ampacity.model.event import Draft, Event, EventKind, put
from ampacity.model.ids import NodeId, WorkloadId, attempt_id
from ampacity.model.resources import Allocation
from ampacity.model.view import LogRecord
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase
from ampacity.observe.exposition import Family, Histogram, Kind
from ampacity.observe.telemetry.exporting import Telemetry
from ampacity.observe.telemetry.life import SpanDraft, life_of
from ampacity.observe.telemetry.settings import SIGNALS, Wanted, wanted
from otlp_receiver import Receiver

pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is missing: pip install 'ampacity[telemetry]'")

W = WorkloadId("w1")
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def attempt(epoch: int, placed_at: float, started_at: float | None, ended_at: float, phase: AttemptPhase) -> Attempt:
    cause = Cause(kind=CauseKind.EXIT, exit_code=3, message="it broke") if phase is AttemptPhase.FAILED else None
    return Attempt(
        id=attempt_id(W, 0, epoch),
        workload=W,
        replica=0,
        epoch=epoch,
        spec_revision=1,
        members=(Member(index=0, node=NodeId("n1"), allocation=Allocation(cpu_milli=1, memory_bytes=0)),),
        placed_at=placed_at,
        started_at=started_at,
        ended_at=ended_at,
        phase=phase,
        cause=cause,
    )


WORKLOAD = Workload(
    id=W, name="job", kind=WorkloadKind.TASK, phase=WorkloadPhase.SUCCEEDED, created_at=100.0, ended_at=130.0
)
ATTEMPTS = (
    attempt(1, 105.0, 106.0, 110.0, AttemptPhase.FAILED),
    attempt(2, 112.0, 113.0, 130.0, AttemptPhase.SUCCEEDED),
)


# What is switched on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, None),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, None),
        (ENDPOINT, set(SIGNALS)),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, {"metrics", "logs"}),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://127.0.0.1:1/v1/logs"}, {"logs"}),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "prometheus"}, {"traces", "logs"}),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, None),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, {"metrics", "logs"}),
    ],
)
def test_the_standard_variables_switch_it_on(environ: dict[str, str], signals: set[str] | None) -> None:
    found = wanted(environ)
    assert (None if found is None else set(found.signals)) == signals


def test_intervals_and_output_are_asked_for_by_name() -> None:
    plain, asked = (
        wanted(ENDPOINT),
        wanted({**ENDPOINT, "OTEL_METRIC_EXPORT_INTERVAL": "5000", "AMPACITY_OTEL_JOB_OUTPUT": "1"}),
    )
    assert plain is not None
    assert asked is not None
    assert (plain.metrics_every_s, plain.job_output) == (60.0, False)
    assert (asked.metrics_every_s, asked.job_output) == (5.0, True)


# A workload's life ---------------------------------------------------------------------------------------------------


def test_a_life_is_waits_and_attempts_below_the_workload() -> None:
    spans = {span.key: span for span in life_of(WORKLOAD, ATTEMPTS)}
    root = spans["workload"]
    assert (root.name, root.began_at, root.ended_at, root.parent_id) == ("task job", 100.0, 130.0, None)
    assert {(span.name, span.began_at, span.ended_at) for span in spans.values() if span.name == "wait"} == {
        ("wait", 100.0, 105.0),
        ("wait", 110.0, 112.0),
    }
    first = spans["attempt 0.1"]
    assert first.parent_id == root.span_id
    assert first.failed == "it broke"
    assert first.attributes["process.exit.code"] == 3
    run = spans["run attempt 0.1"]
    assert (run.parent_id, run.began_at, run.ended_at) == (first.span_id, 106.0, 110.0)
    assert not spans["attempt 0.2"].failed
    assert len({span.span_id for span in spans.values()}) == len(spans)
    assert {span.trace_id for span in spans.values()} == {root.trace_id}
    assert [span.span_id for span in life_of(WORKLOAD, ATTEMPTS)] == [span.span_id for span in spans.values()]


def test_one_that_never_had_a_place_only_waited() -> None:
    assert [span.name for span in life_of(WORKLOAD, ())] == ["task job", "wait"]


# Over the wire -------------------------------------------------------------------------------------------------------


class SourceDouble:
    def __init__(self) -> None:
        self.written: list[Event] = []
        self.steps = [SpanDraft(trace="step", key="step", name="control step", began_at=1.0, ended_at=2.0)]
        self.lines: list[tuple[WorkloadId, str, LogRecord]] = []

    def last_seq(self) -> int:
        return 0

    def events(self, *, after: int, limit: int) -> Sequence[Event]:
        return [event for event in list(self.written) if event.seq > after][:limit]

    def life(self, workload: WorkloadId) -> tuple[Workload, Sequence[Attempt]] | None:
        return (WORKLOAD, ATTEMPTS) if workload == W else None

    def long_steps(self) -> Sequence[SpanDraft]:
        steps, self.steps = self.steps, []
        return steps

    def families(self) -> Sequence[Family]:
        gauge = Family("ampacity_nodes", Kind.GAUGE, "Nodes.")
        gauge.add(2, {"condition": "ready"})
        counter = Family("ampacity_attempt_energy_joules", Kind.COUNTER, "Energy.")
        counter.add(1.5, {"attempt": "w1.0.1"})
        steps = Family("ampacity_control_step_seconds", Kind.HISTOGRAM, "Steps.")
        histogram = Histogram((0.1, 1.0))
        for value in (0.05, 0.5, 0.6, 7.0):
            histogram.observe(value)
        histogram.add_to(steps, {"queue": "q"})
        return [gauge, counter, steps]

    def output(self) -> Sequence[tuple[WorkloadId, str, LogRecord]]:
        lines, self.lines = self.lines, []
        return lines


def event(seq: int, kind: EventKind, text: str, *rows: Any) -> Event:
    return Event(
        seq=seq, draft=Draft(kind=kind, at=100.0 + seq, text=text, workload=W, changes=tuple(put(row) for row in rows))
    )


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    found = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    yield found
    found.close()


@contextmanager
def exporting(source: SourceDouble, *signals: str, job_output: bool = False) -> Iterator[Telemetry]:
    from ampacity.observe.telemetry.otlp import Otlp

    otlp = Otlp(signals, service_name="ampacity", began_at=50.0)
    asked = Wanted(signals=frozenset(signals), metrics_every_s=60.0, job_output=job_output)
    telemetry = Telemetry(asked, source, otlp)
    telemetry.start()
    try:
        yield telemetry
    finally:
        telemetry.close()


def eventually(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def counted(telemetry: Telemetry, name: str, signal: str) -> float:
    family = next(each for each in telemetry.families() if each.name == f"ampacity_telemetry_{name}")
    return next(value for _, labels, value in family.samples if dict(labels)["signal"] == signal)


def test_a_workloads_life_arrives_as_one_trace(receiver: Receiver) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    source = SourceDouble()
    source.written.append(event(1, EventKind.WORKLOAD_ENDED, "job succeeded", WORKLOAD))
    with exporting(source, "traces"):
        eventually(lambda: len(receiver.bodies) >= 2, "a trace and a step")
    asked, spans = receiver.got("/v1/traces", ExportTraceServiceRequest), receiver.spans()
    assert {key.key: key.value.string_value for key in asked[0].resource_spans[0].resource.attributes}[
        "service.name"
    ] == "ampacity"
    root = next(span for span in spans if span.name == "task job")
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (100 * 10**9, 130 * 10**9)
    below = [span for span in spans if span.trace_id == root.trace_id]
    assert sorted(span.name for span in below if span.parent_span_id == root.span_id) == [
        "attempt 1", "attempt 2", "wait", "wait",
    ]  # fmt: skip
    failed = next(span for span in spans if span.name == "attempt 1")
    assert (failed.status.code, failed.status.message) == (2, "it broke")
    assert any(span.name == "control step" and span.trace_id != root.trace_id for span in spans)


def test_events_and_output_arrive_as_logs(receiver: Receiver) -> None:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    source = SourceDouble()
    source.written += [
        event(1, EventKind.WORKLOAD_SUBMITTED, "job submitted"),
        event(2, EventKind.ATTEMPT_ENDED, "attempt failed", ATTEMPTS[0]),
    ]
    record = LogRecord(at=7.5, replica=0, epoch=1, member=0, rank=3, stream="err", text="loss: NaN")
    source.lines.append((W, "job", record))
    with exporting(source, "logs", job_output=True):
        eventually(lambda: len(receiver.bodies) >= 2, "events and output")
    asked = receiver.got("/v1/logs", ExportLogsServiceRequest)
    told = [each for part in asked for r in part.resource_logs for scope in r.scope_logs for each in scope.log_records]
    by_text = {each.body.string_value: each for each in told}
    assert by_text["job submitted"].severity_text == "INFO"
    assert by_text["job submitted"].event_name == "ampacity.workload.submitted"
    assert by_text["attempt failed"].severity_text == "ERROR"
    assert by_text["attempt failed"].trace_id == life_of(WORKLOAD, ())[0].trace_id.to_bytes(16, "big")
    line = by_text["loss: NaN"]
    assert line.time_unix_nano == int(7.5e9)
    attributes = {each.key: each.value for each in line.attributes}
    assert attributes["log.iostream"].string_value == "stderr"
    assert attributes["ampacity.rank"].int_value == 3


def test_metrics_arrive_with_their_kinds(receiver: Receiver) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    with exporting(SourceDouble(), "metrics") as telemetry:
        eventually(lambda: counted(telemetry, "sent", "metrics") >= 1, "metrics")
    asked = receiver.got("/v1/metrics", ExportMetricsServiceRequest)
    metrics = {each.name: each for each in asked[0].resource_metrics[0].scope_metrics[0].metrics}
    assert metrics["ampacity_nodes"].gauge.data_points[0].as_double == 2.0
    energy = metrics["ampacity_attempt_energy_joules"].sum
    assert energy.is_monotonic
    assert energy.data_points[0].attributes[0].value.string_value == "w1.0.1"
    (steps,) = metrics["ampacity_control_step_seconds"].histogram.data_points
    assert list(steps.explicit_bounds) == [0.1, 1.0]
    assert list(steps.bucket_counts) == [1, 2, 1]
    assert (steps.count, steps.sum) == (4, pytest.approx(8.15))


def test_what_is_refused_is_counted_and_the_rest_goes_on(receiver: Receiver) -> None:
    source = SourceDouble()
    receiver.status = 400
    with exporting(source, "logs") as telemetry:
        source.written.append(event(1, EventKind.WORKLOAD_SUBMITTED, "first"))
        eventually(lambda: counted(telemetry, "lost", "logs") == 1, "a loss")
        receiver.status = 200
        source.written.append(event(2, EventKind.WORKLOAD_SUBMITTED, "second"))
        eventually(lambda: counted(telemetry, "sent", "logs") == 1, "the next one")


def test_a_receiver_that_is_not_there_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    source = SourceDouble()
    source.written += [event(seq, EventKind.WORKLOAD_SUBMITTED, "x") for seq in range(1, 4)]
    with exporting(source, "logs") as telemetry:
        eventually(lambda: counted(telemetry, "lost", "logs") == 3, "the loss of all three")
        began = time.monotonic()
    assert time.monotonic() - began < 15

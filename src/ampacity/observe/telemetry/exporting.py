"""The thread that exports. It reads what happened from the store's feed: nobody waits for it, nothing piles up."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ampacity.model.attempt import Attempt
from ampacity.model.event import Event, EventKind
from ampacity.model.ids import WorkloadId
from ampacity.model.view import LogRecord
from ampacity.model.workload import Workload
from ampacity.observe.exposition import Family, Kind

from .life import SpanDraft, life_of
from .rounds import Rounds
from .settings import Wanted

if TYPE_CHECKING:
    from .otlp import LogDraft, Otlp

PAGE = 500
ERRORS = frozenset({EventKind.NODE_REMOVED})

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where the exporter finds what it tells. Called from its thread alone."""

    def last_seq(self) -> int: ...

    def events(self, *, after: int, limit: int) -> Sequence[Event]: ...

    def life(self, workload: WorkloadId) -> tuple[Workload, Sequence[Attempt]] | None:
        """The workload with all its attempts; ``None`` when it is not known any more."""
        ...

    def long_steps(self) -> Sequence[SpanDraft]:
        """Steps that took long, each given once."""
        ...

    def families(self) -> Sequence[Family]: ...

    def output(self) -> Sequence[tuple[WorkloadId, str, LogRecord]]:
        """Lines of jobs' output since the last call, with the workload's name."""
        ...


class Telemetry:
    """Exports what is wanted until it is closed. What cannot be sent is counted and dropped."""

    def __init__(self, wanted: Wanted, source: Source, otlp: Otlp) -> None:
        self._wanted, self._source, self._otlp = wanted, source, otlp
        self._sent: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._after = source.last_seq()
        self._metrics_at = 0.0
        self._rounds = Rounds("telemetry", self._round, otlp.close)

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        """Send what is there, for a short while, and end. Safe to call twice."""
        self._rounds.close()

    def families(self) -> list[Family]:
        """How much was sent, and lost."""
        sent = Family("ampacity_telemetry_sent", Kind.COUNTER, "Spans, log records and rounds of metrics sent.")
        lost = Family("ampacity_telemetry_lost", Kind.COUNTER, "Those that could not be sent, and were dropped.")
        for signal in sorted(self._wanted.signals):
            sent.add(self._sent[signal], {"signal": signal})
            lost.add(self._lost[signal], {"signal": signal})
        return [sent, lost]

    def _round(self, last: bool) -> None:
        while events := self._source.events(after=self._after, limit=PAGE):
            self._after = events[-1].seq
            self._tell(events)
        if "traces" in self._wanted.signals:
            self._send("traces", self._source.long_steps())
        if self._wanted.job_output:
            self._send("logs", [_line(*each) for each in self._source.output()])
        now = time.monotonic()
        if "metrics" in self._wanted.signals and (last or now - self._metrics_at >= self._wanted.metrics_every_s):
            self._metrics_at = now
            self._count("metrics", 1, self._otlp.send_metrics(self._source.families(), time.time()))

    def _tell(self, events: Sequence[Event]) -> None:
        if "logs" in self._wanted.signals:
            self._send("logs", [_record(event) for event in events])
        if "traces" in self._wanted.signals:
            ended = [event.draft.workload for event in events if event.kind is EventKind.WORKLOAD_ENDED]
            lives = [self._source.life(ident) for ident in ended if ident is not None]
            self._send("traces", [span for life in lives if life is not None for span in life_of(*life)])

    def _send(self, signal: str, drafts: Sequence[SpanDraft] | Sequence[LogDraft]) -> None:
        for start in range(0, len(drafts), PAGE):
            page = drafts[start : start + PAGE]
            send = self._otlp.send_spans if signal == "traces" else self._otlp.send_logs
            self._count(signal, len(page), send(page))  # type: ignore[arg-type]

    def _count(self, signal: str, count: int, sent: bool) -> None:
        (self._sent if sent else self._lost)[signal] += count
        if not sent:
            log.warning("%s could not be sent: %d dropped, %d in all", signal, count, self._lost[signal])


def _record(event: Event) -> LogDraft:
    from .otlp import LogDraft

    draft = event.draft
    named = {
        "ampacity.workload.id": draft.workload,
        "ampacity.attempt.id": draft.attempt,
        "ampacity.node": draft.node,
        "ampacity.project": draft.project,
        "ampacity.owner": draft.owner,
        "ampacity.actor": draft.actor,
    }
    failed = any(str(getattr(change.row, "phase", "")) in ("failed", "lost") for change in draft.changes)
    return LogDraft(
        at=draft.at,
        text=draft.text or str(draft.kind),
        event_name=f"ampacity.{draft.kind}",
        error=failed or draft.kind in ERRORS,
        trace=draft.workload or "",
        attributes={"ampacity.seq": event.seq, **{key: str(value) for key, value in named.items() if value}},
    )


def _line(workload: WorkloadId, name: str, record: LogRecord) -> LogDraft:
    from .otlp import LogDraft

    attributes: dict[str, str | int] = {
        "ampacity.workload.id": workload,
        "ampacity.workload.name": name,
        "ampacity.attempt.replica": record.replica,
        "ampacity.attempt.epoch": record.epoch,
        "log.iostream": {"out": "stdout", "err": "stderr"}.get(record.stream, record.stream),
    }
    if record.rank >= 0:
        attributes["ampacity.rank"] = record.rank
    return LogDraft(at=record.at, text=record.text, trace=workload, attributes=attributes)

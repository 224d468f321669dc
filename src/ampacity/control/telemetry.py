"""Telemetry's source: what happened, from the store's feed and the loop's own figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from ampacity.model.attempt import Attempt
from ampacity.model.errors import AmpacityError
from ampacity.model.event import Event
from ampacity.model.ids import SYSTEM_PROJECT, WorkloadId
from ampacity.model.view import LogRecord
from ampacity.model.workload import Workload
from ampacity.observe.exposition import Family
from ampacity.observe.telemetry.exporting import Telemetry
from ampacity.observe.telemetry.life import SpanDraft
from ampacity.observe.telemetry.opening import open_otlp
from ampacity.observe.telemetry.settings import wanted
from ampacity.store.feed import FeedStore

from .figures import Figures
from .logs import Output
from .measuring import Measuring
from .reading import Reading

SERVICE_NAME = "ampacity"
OUTPUT_PAGE = 1000

log = logging.getLogger(__name__)


class FeedSource:
    """Fulfils ``Source``. Output is told from the moment on when a workload is first seen."""

    def __init__(
        self, store: FeedStore, reading: Reading, output: Output, measuring: Measuring, figures: Figures
    ) -> None:
        self._store, self._reading, self._output = store, reading, output
        self._measuring, self._figures = measuring, figures
        self._cursors: dict[WorkloadId, str | None] = {}

    def last_seq(self) -> int:
        return self._store.last_seq

    def events(self, *, after: int, limit: int) -> Sequence[Event]:
        return self._store.events(after=after, limit=limit)

    def life(self, workload: WorkloadId) -> tuple[Workload, Sequence[Attempt]] | None:
        rows = self._store.of_workload(workload)
        row = rows.workloads.get(workload)
        return None if row is None else (row, tuple(rows.attempts.values()))

    def long_steps(self) -> Sequence[SpanDraft]:
        found = []
        while self._figures.long_steps:
            step = self._figures.long_steps.popleft()
            found.append(
                SpanDraft(
                    trace=f"step {step.ended_at!r}",
                    key="step",
                    name="control step",
                    began_at=step.ended_at - step.lasted_s,
                    ended_at=step.ended_at,
                    attributes={"ampacity.step.events": step.wrote},
                )
            )
        return found

    def families(self) -> Sequence[Family]:
        return self._measuring.families()

    def output(self) -> Sequence[tuple[WorkloadId, str, LogRecord]]:
        live = {row.id: row for row in self._store.live_workloads() if row.project != SYSTEM_PROJECT}
        for ident in live.keys() - self._cursors.keys():
            self._cursors[ident] = None
        told: list[tuple[WorkloadId, str, LogRecord]] = []
        for ident in list(self._cursors):
            try:
                view = self._reading.workload(ident, project=SYSTEM_PROJECT)
                part = self._output.slice(view, cursor=self._cursors[ident], rank=None, replica=None, limit=OUTPUT_PAGE)
            except AmpacityError as error:
                log.info("the output of %s cannot be read now: %s", ident, error)
                continue
            told.extend((ident, view.workload.name, record) for record in part.records)
            self._cursors[ident] = part.cursor
            if part.ended or (ident not in live and not part.records):
                del self._cursors[ident]
        return told


def open_telemetry(environ: Mapping[str, str], source: FeedSource) -> Telemetry | None:
    """The exporter that the environment switches on; ``None`` where it does not. What is missing for it is logged."""
    asked = wanted(environ)
    if asked is None:
        return None
    otlp = open_otlp(environ, asked.signals, service_name=SERVICE_NAME)
    return None if otlp is None else Telemetry(asked, source, otlp)

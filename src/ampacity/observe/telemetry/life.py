"""A workload's life as a trace: submitted, waited, prepared, ran. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ampacity.model.attempt import Attempt, AttemptPhase
from ampacity.model.workload import Workload, WorkloadPhase

from .spans import Attribute, SpanKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanDraft:
    """One span. Times in seconds since the epoch; ``parent`` is a key. Ids follow from the keys, so that a span that is
    sent twice is the same one. Fulfils :class:`ampacity.observe.telemetry.spans.Span`."""

    trace: str
    key: str
    name: str
    began_at: float
    ended_at: float
    parent: str = ""
    failed: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def kind(self) -> SpanKind:
        return SpanKind.INTERNAL

    @property
    def trace_id(self) -> int:
        return trace_id(self.trace)

    @property
    def span_id(self) -> int:
        return span_id(self.trace, self.key)

    @property
    def parent_id(self) -> int | None:
        return span_id(self.trace, self.parent) if self.parent else None


ROOT = "workload"


def trace_id(trace: str) -> int:
    """16 bytes, never zero (W3C Trace Context)."""
    return int.from_bytes(hashlib.sha256(trace.encode()).digest()[:16], "big") or 1


def span_id(trace: str, key: str) -> int:
    """8 bytes, never zero."""
    return int.from_bytes(hashlib.sha256(f"{trace}\0{key}".encode()).digest()[:8], "big") or 1


def life_of(workload: Workload, attempts: Sequence[Attempt]) -> list[SpanDraft]:
    """The spans of a workload that has ended: itself, its waits for a place, its attempts and what they are made of."""
    ended_at = workload.ended_at if workload.ended_at is not None else workload.created_at
    attributes: dict[str, Attribute] = {
        "ampacity.workload.id": workload.id,
        "ampacity.workload.name": workload.name,
        "ampacity.workload.kind": str(workload.kind),
        "ampacity.workload.phase": str(workload.phase),
        "ampacity.project": workload.project,
        "ampacity.owner": workload.owner,
    }
    failed = (workload.note or "failed") if workload.phase is WorkloadPhase.FAILED else ""
    root = SpanDraft(
        trace=workload.id,
        key=ROOT,
        name=f"{workload.kind} {workload.name}",
        began_at=workload.created_at,
        ended_at=max(ended_at, workload.created_at),
        failed=failed,
        attributes=attributes,
    )
    return [root, *_waits(workload, attempts, root.ended_at), *(span for each in attempts for span in _attempt(each))]


def _waits(workload: Workload, attempts: Sequence[Attempt], ended_at: float) -> Iterator[SpanDraft]:
    """Before the first attempt of each replica, and between two in a row."""
    if not attempts:
        yield _span(workload.id, "wait 0.1", "wait", workload.created_at, ended_at, ROOT)
    since: dict[int, float] = {}
    for attempt in sorted(attempts, key=lambda each: (each.replica, each.epoch)):
        began_at = since.get(attempt.replica, workload.created_at)
        key = f"wait {attempt.replica}.{attempt.epoch}"
        yield _span(workload.id, key, "wait", began_at, attempt.placed_at, ROOT)
        since[attempt.replica] = attempt.placed_at if attempt.ended_at is None else attempt.ended_at


def _attempt(attempt: Attempt) -> Iterator[SpanDraft]:
    ended_at = attempt.placed_at if attempt.ended_at is None else attempt.ended_at
    attributes: dict[str, Attribute] = {
        "ampacity.attempt.id": attempt.id,
        "ampacity.attempt.replica": attempt.replica,
        "ampacity.attempt.epoch": attempt.epoch,
        "ampacity.attempt.phase": str(attempt.phase),
        "ampacity.attempt.incarnations": attempt.incarnation + 1,
        "ampacity.nodes": ",".join(attempt.nodes),
    }
    failed = ""
    if attempt.phase in (AttemptPhase.FAILED, AttemptPhase.LOST):
        failed = str(attempt.phase) if attempt.cause is None else attempt.cause.message or str(attempt.cause.kind)
    if attempt.cause is not None and attempt.cause.exit_code is not None:
        attributes["process.exit.code"] = attempt.cause.exit_code
    key = f"attempt {attempt.replica}.{attempt.epoch}"
    name = f"attempt {attempt.epoch}"
    yield _span(attempt.workload, key, name, attempt.placed_at, ended_at, ROOT, failed, attributes)
    started_at = ended_at if attempt.started_at is None else attempt.started_at
    yield _span(attempt.workload, f"prepare {key}", "prepare", attempt.placed_at, started_at, key)
    if attempt.started_at is not None:
        yield _span(attempt.workload, f"run {key}", "run", started_at, ended_at, key, failed)


def _span(
    trace: str,
    key: str,
    name: str,
    began_at: float,
    ended_at: float,
    parent: str,
    failed: str = "",
    attributes: Mapping[str, Attribute] | None = None,
) -> SpanDraft:
    return SpanDraft(
        trace=trace,
        key=key,
        name=name,
        began_at=began_at,
        ended_at=max(began_at, ended_at),
        parent=parent,
        failed=failed,
        attributes=attributes or {},
    )

"""The plane's use cases that only read rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import msgspec

from ampacity.model.errors import NotFound
from ampacity.model.event import Event, EventKind, Table
from ampacity.model.ids import SYSTEM_PROJECT, NodeId, Project, WorkloadId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation, DeviceShare
from ampacity.model.view import EventView, NodeView, ProgressPoint, WorkloadView
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.store.feed import FeedStore

from .logs import Output
from .lookup import find, live_services, view_of
from .plane import News
from .step import Control
from .story import worth_telling

PROGRESS_FILE = "progress/rank-0.jsonl"
STORY_PAGE = 1000


class _ProgressLine(msgspec.Struct):
    """One line of a rank's progress file; other keys are the job's own."""

    at: float
    incarnation: int = 0
    step: int = 0
    loss: float | None = None
    tokens: int | None = None
    checkpoint: str | None = None


class Reading:
    """Reads rows from the store, and the plan's waits from the control loop."""

    def __init__(self, store: FeedStore, control: Control, output: Output) -> None:
        self._store, self._control, self._output = store, control, output

    def workloads(
        self,
        *,
        project: Project | None,
        kinds: Collection[WorkloadKind] | None,
        phases: Collection[WorkloadPhase] | None,
        limit: int,
        before: tuple[float, str] | None,
    ) -> tuple[WorkloadView, ...]:
        found: list[Workload] = []
        while len(found) < limit:  # what is left out of a page is made up for: a short page means the end
            rows = self._store.workloads(project=project, kinds=kinds, phases=phases, limit=limit, before=before)
            found += [row for row in rows if project is not None or row.project != SYSTEM_PROJECT]
            if len(rows) < limit:
                break
            before = (rows[-1].created_at, rows[-1].id)
        waits = self._control.plan.waits
        return tuple(view_of(self._store.of_workload(row.id), row, waits, whole=False) for row in found[:limit])

    def workload(self, ref: str, *, project: Project) -> WorkloadView:
        rows = self._store.of_workload(WorkloadId(ref))  # it is an id, mostly
        row = rows.workloads.get(ref)
        if row is None:
            row = find(self._store, ref, project)
            rows = self._store.of_workload(row.id)
        return view_of(rows, row, self._control.plan.waits, whole=True)

    def progress(self, ref: str, *, project: Project) -> tuple[ProgressPoint, ...]:
        view = self.workload(ref, project=project)
        points: list[ProgressPoint] = []
        for attempt in view.attempts:
            for line in self._output.file(attempt.key(0), attempt.members[0].node, PROGRESS_FILE).splitlines():
                point = _point(line, attempt.epoch)
                if point is not None:
                    points.append(point)
        return tuple(points)

    def nodes(self) -> tuple[NodeView, ...]:
        rows = self._store.live()
        held: dict[NodeId, list[tuple[str, Allocation]]] = defaultdict(list)
        for attempt in rows.attempts.values():
            if not attempt.phase.ended:
                for member in attempt.members:
                    held[member.node].append((attempt.id, member.allocation))
        return tuple(node_view(node, held[node.id]) for node in sorted(rows.nodes.values(), key=lambda node: node.id))

    def node(self, name: str) -> NodeView:
        """Raises ``NotFound``."""
        for view in self.nodes():
            if view.node.id == name:
                return view
        known = ", ".join(view.node.id for view in self.nodes()) or "none"
        raise NotFound(f"There is no node {name!r}.", hint=f"The nodes are: {known}.")

    def events(self, *, after: int, ref: str | None, project: Project, limit: int) -> tuple[EventView, ...]:
        workload = None if ref is None else find(self._store, ref, project).id
        events = self._store.events(after=after, workload=workload, limit=limit)
        names = {event.draft.workload: "" for event in events if event.draft.workload is not None}
        for ident in names:
            row = self._store.get(Table.WORKLOADS, ident)
            names[ident] = row.name if isinstance(row, Workload) else ""
        return tuple(event_view(event, names.get(event.draft.workload or WorkloadId(""), "")) for event in events)

    def story(self, workload: WorkloadId) -> tuple[Event, ...]:
        """The workload's events that are worth telling, all of them."""
        told: list[Event] = []
        after = 0
        while page := self._store.events(after=after, workload=workload, limit=STORY_PAGE):
            told.extend(event for event in page if worth_telling(event))
            after = page[-1].seq
        return tuple(told)

    def live_services(self) -> Iterator[tuple[Workload, WorkloadSpec]]:
        """The services that have not ended, with the spec in force."""
        return live_services(self._store)


def news_of(written: Sequence[Event]) -> News:
    """What those who follow are told of events that were just written; there is at least one."""
    ended = (event.draft.workload for event in written if event.kind is EventKind.WORKLOAD_ENDED)
    return News(seq=written[-1].seq, ended=frozenset(ident for ident in ended if ident is not None))


def node_view(node: Node, held: list[tuple[str, Allocation]]) -> NodeView:
    """The node with the sum of what is given out on it."""
    milli: dict[str, int] = defaultdict(int)
    for _, allocation in held:
        for share in allocation.devices:
            milli[share.device] += share.milli
    used = Allocation(
        cpu_milli=sum(allocation.cpu_milli for _, allocation in held),
        memory_bytes=sum(allocation.memory_bytes for _, allocation in held),
        disk_bytes=sum(allocation.disk_bytes for _, allocation in held),
        devices=tuple(DeviceShare(device=device, milli=share) for device, share in sorted(milli.items())),
    )
    return NodeView(node=node, used=used, attempts=tuple(attempt for attempt, _ in held))


def event_view(event: Event, name: str) -> EventView:
    draft = event.draft
    return EventView(
        seq=event.seq,
        at=draft.at,
        kind=draft.kind,
        text=draft.text,
        project=draft.project,
        owner=draft.owner,
        actor=draft.actor,
        workload=draft.workload,
        name=name,
        attempt=draft.attempt,
        node=draft.node,
    )


def _point(line: bytes, epoch: int) -> ProgressPoint | None:
    """The point that a line says; ``None`` for one that is torn or not a report."""
    try:
        read = msgspec.json.decode(line, type=_ProgressLine)
    except msgspec.DecodeError:
        return None
    return ProgressPoint(
        at=read.at,
        epoch=epoch,
        incarnation=read.incarnation,
        step=read.step,
        loss=read.loss,
        tokens=read.tokens,
        checkpoint=read.checkpoint is not None,
        path=read.checkpoint or "",
    )

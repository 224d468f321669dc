"""The control plane's use cases on the live system: fulfils ``Plane``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import ampacity
from ampacity.drivers.base import Exec, MemberFiles, TerminalSize
from ampacity.hub import Hub
from ampacity.hub.version import ModelVersion
from ampacity.model.ids import SYSTEM_PROJECT, Owner, Project, WorkloadId
from ampacity.model.node import NodeCondition
from ampacity.model.receipt import Receipt
from ampacity.model.site import Site
from ampacity.model.view import (
    EventView,
    LogHit,
    NodeView,
    ProgressPoint,
    QueueChanges,
    QueueTreeView,
    RouteChanges,
    RoutesView,
    Status,
    TopologyChanges,
    Why,
    WorkloadView,
)
from ampacity.model.workload import Wish, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.observe.measured import Measurements
from ampacity.secrets.keeper import Secrets
from ampacity.secrets.secret import Secret
from ampacity.store.feed import FeedStore

from .hosting import Hosting
from .keys import Keys
from .logs import Output
from .measuring import Measuring
from .members import Members
from .metering import Metering
from .plane import Asked, LogSearch, LogSlice, News
from .queueing import Queueing
from .reading import Reading, news_of
from .routing import Routing
from .searching import Searching
from .step import Control
from .story import tell
from .submitting import MakeReceipt
from .topology import Topology
from .writing import Writing

log = logging.getLogger(__name__)

Changes = TypeVar("Changes", QueueChanges, TopologyChanges, RouteChanges)

LAST_LINES = 15

RECEIPTS_KEPT_S = 24 * 3600.0
"""For how long the repeat of a write is known."""

RECEIPT_TICK_S = 1e-3
"""Older means before: the receipt of this very moment goes, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this control plane is; the addresses are filled in once it listens."""

    state_dir: str
    started_at: float
    gateway_url: str
    socket: str = ""
    api_url: str = ""


class LivePlane:
    """Reads and writes the store beside the control loop, and wakes it. Safe to call from any thread."""

    def __init__(
        self,
        *,
        store: FeedStore,
        control: Control,
        hub: Hub,
        output: Output,
        members: Members,
        writing: Writing,
        keys: Keys,
        metering: Metering,
        secrets: Secrets,
        measuring: Measuring,
        place: Place,
        clock: Callable[[], float],
        wake: Callable[[], None],
        end: Callable[[bool], None],
    ) -> None:
        self._store, self._control, self._hub, self._output = store, control, hub, output
        self._reading = Reading(store, control, output)
        self._writing, self._place, self._clock = writing, place, clock
        self._wake, self._end = wake, end
        self.keys, self.metering = keys, metering
        self._secrets, self._members = secrets, members
        self._measuring = measuring
        self._searching = Searching(self._reading, output)
        self._queueing = Queueing(store, control, clock)
        self._topology = Topology(store, clock)
        self._routing = Routing(store, clock)
        self._hosting = Hosting(hub, self._reading, clock)

    # Reading -------------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        live = {of: count for of, count in self._store.live_counts().items() if of[0] != SYSTEM_PROJECT}
        keys = self.keys.all()
        waiting = sum(count for (_, phase), count in live.items() if phase is WorkloadPhase.WAITING)
        return Status(
            version=ampacity.__version__,
            pid=os.getpid(),
            state_dir=self._place.state_dir,
            started_at=self._place.started_at,
            seq=self._store.last_seq,
            waiting=waiting,
            running=sum(live.values()) - waiting,
            nodes=len(self._control.nodes),
            socket=self._place.socket,
            api_url=self._place.api_url,
            gateway_url=self._place.gateway_url,
            keys=sum(key.usable(self._clock()) for key in keys),
            endpoint_open=not keys,
        )

    def workloads(
        self,
        *,
        project: Project | None,
        kinds: Collection[WorkloadKind] | None,
        phases: Collection[WorkloadPhase] | None,
        limit: int,
        before: tuple[float, str] | None,
    ) -> tuple[WorkloadView, ...]:
        return self._reading.workloads(project=project, kinds=kinds, phases=phases, limit=limit, before=before)

    def workload(self, ref: str, *, project: Project) -> WorkloadView:
        return self._reading.workload(ref, project=project)

    def lives(self, workload: str) -> bool:
        return self._store.lives(WorkloadId(workload))

    def why(self, ref: str, *, project: Project) -> Why:
        view = self.workload(ref, project=project)
        events = self._reading.story(view.workload.id)
        last = max(view.attempts, key=lambda attempt: (attempt.placed_at, attempt.epoch), default=None)
        printed = () if last is None or last.phase.ended else self._output.tail(last, LAST_LINES)
        return tell(view, events, printed or _last_words(view))

    def logs(
        self, ref: str, *, project: Project, cursor: str | None, rank: int | None, replica: int | None, limit: int
    ) -> LogSlice:
        view = self.workload(ref, project=project)
        return self._output.slice(view, cursor=cursor, rank=rank, replica=replica, limit=limit)

    def search(self, ask: LogSearch) -> Iterator[tuple[LogHit, ...]]:
        return self._searching.hits(ask, self._clock())

    def progress(self, ref: str, *, project: Project) -> tuple[ProgressPoint, ...]:
        return self._reading.progress(ref, project=project)

    def files(self, ref: str, *, project: Project, replica: int, member: int) -> MemberFiles:
        driver, key, _ = self._members.find(self.workload(ref, project=project), replica=replica, member=member)
        return driver.member_files(key)

    def exec(
        self,
        ref: str,
        argv: tuple[str, ...],
        *,
        project: Project,
        replica: int,
        member: int,
        terminal: TerminalSize | None,
        by: str,
    ) -> Exec:
        view = self.workload(ref, project=project)
        driver, key, _ = self._members.find(view, replica=replica, member=member)
        command = driver.exec(key, argv, terminal=terminal)
        log.info("%s runs a command in %s (%s)", by, key, argv[0])
        return command

    def nodes(self) -> tuple[NodeView, ...]:
        return self._reading.nodes()

    def queues(self) -> QueueTreeView:
        return self._queueing.tree()

    def apply_queues(self, text: str, *, file: str, by: str, dry_run: bool) -> QueueChanges:
        return self._looked_at(self._queueing.apply(text, file=file, by=by, dry_run=dry_run))

    def topology(self) -> Site:
        return self._topology.site()

    def apply_topology(self, text: str, *, file: str, by: str, dry_run: bool) -> TopologyChanges:
        return self._looked_at(self._topology.apply(text, file=file, by=by, dry_run=dry_run))

    def routes(self) -> RoutesView:
        return self._routing.view()

    def apply_routes(self, text: str, *, file: str, by: str, dry_run: bool) -> RouteChanges:
        return self._looked_at(self._routing.apply(text, file=file, by=by, dry_run=dry_run))

    def _looked_at(self, changes: Changes) -> Changes:
        """At once, unless nothing but words was asked for."""
        if not changes.dry_run:
            self._wake()
        return changes

    def mark_node(
        self, node: str, *, labels: Mapping[str, str | None], taints: Mapping[str, str | None], by: str
    ) -> NodeView:
        self._topology.mark(node, labels=labels, taints=taints, by=by)
        self._wake()
        return self._reading.node(node)

    def measurements(self, *, history_points: int, step_s: float) -> Measurements:
        return self._measuring.measurements(history_points=history_points, step_s=step_s)

    def metrics(self, *, openmetrics: bool) -> bytes:
        return self._measuring.metrics(openmetrics=openmetrics)

    def events(self, *, after: int, ref: str | None, project: Project, limit: int) -> tuple[EventView, ...]:
        return self._reading.events(after=after, ref=ref, project=project, limit=limit)

    def follow(self, told: Callable[[News], None]) -> Callable[[], None]:
        return self._store.follow(lambda events: told(news_of(events)))

    # Writing -------------------------------------------------------------------------------------------------------

    def submit(
        self,
        specs: Sequence[WorkloadSpec],
        *,
        project: Project,
        owner: Owner,
        indices: Sequence[int] = (),
        receipt: MakeReceipt | None = None,
    ) -> tuple[WorkloadView, ...]:
        for spec in specs:
            self._secrets.refuse_unknown(project, spec.secrets.names)
        views = self._writing.submit_all(specs, project=project, owner=owner, indices=indices, receipt=receipt)
        self._wake()
        return views

    def set_desired(
        self,
        ref: str,
        *,
        project: Project,
        by: str,
        wish: Wish | None = None,
        replicas: int | None = None,
        size: int | None = None,
    ) -> WorkloadView:
        ident = self._writing.set_desired(ref, project=project, by=by, wish=wish, replicas=replicas, size=size)
        self._wake()
        return self.workload(ident, project=project)

    def set_condition(self, node: str, condition: NodeCondition, *, by: str) -> NodeView:
        self._writing.set_condition(node, condition, by=by)
        self._wake()
        return self._reading.node(node)

    def receipt(self, key: str) -> Receipt | None:
        found, oldest = self._store.receipt(key), self._clock() - RECEIPTS_KEPT_S
        if found is None or found.at > oldest:
            return found
        self._store.forget_receipts(before=oldest + RECEIPT_TICK_S)  # so that its key is free
        return None

    def keep_receipt(self, asked: Asked, answer: bytes) -> None:
        receipt = Receipt(key=asked.key, digest=asked.digest, answer=answer, at=self._clock())
        self._store.append((), receipts=(receipt,))

    def shutdown(self, *, workloads: bool) -> None:
        self._end(workloads)

    # Secrets -------------------------------------------------------------------------------------------------------

    def secrets(self, project: Project) -> tuple[Secret, ...]:
        return self._secrets.list(project)

    def put_secret(self, project: Project, name: str, value: bytes, *, by: str) -> Secret:
        return self._secrets.put(project, name, value, by=by)

    def remove_secret(self, project: Project, name: str) -> Secret:
        return self._secrets.remove(project, name)

    def rotate_secret_key(self) -> int:
        return self._secrets.rotate_key()

    # Models --------------------------------------------------------------------------------------------------------

    def models(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        return self._hub.list(name)

    def model(self, ref: str) -> ModelVersion:
        return self._hub.get(ref)

    def add_model(
        self,
        *,
        name: str,
        path: str,
        tags: Collection[str],
        run: str | None,
        step: int | None,
        data: Collection[str],
        project: Project,
    ) -> ModelVersion:
        return self._hosting.add(name=name, path=path, tags=tags, run=run, step=step, data=data, project=project)

    def remove_model(self, ref: str) -> ModelVersion:
        return self._hosting.remove(ref)

    def listens(self, *, socket: str, api_url: str) -> None:
        """Tell where the API answers now."""
        self._place = replace(self._place, socket=socket, api_url=api_url)


def _last_words(view: WorkloadView) -> tuple[str, ...]:
    """What the latest attempt that left any words printed at its end."""
    for attempt in sorted(view.attempts, key=lambda attempt: (attempt.placed_at, attempt.epoch), reverse=True):
        if attempt.cause is not None and attempt.cause.last_lines:
            return attempt.cause.last_lines
    return ()

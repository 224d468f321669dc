"""A control plane in memory, without a scheduler or drivers: what it is told is what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from plane_rows import PlaneRows

from ampacity import __version__
from ampacity.control.plane import Asked, LogSearch, LogSlice, News
from ampacity.control.submitting import MakeReceipt
from ampacity.drivers.base import Exec
from ampacity.drivers.local.member_files import LocalMemberFiles
from ampacity.hub.version import Lineage, ModelVersion
from ampacity.model.array import ArrayPlace, element_name
from ampacity.model.errors import Conflict, InvalidSpec, NameTaken, NotFound, Repeated, Where
from ampacity.model.event import EventKind
from ampacity.model.ids import SYSTEM_PROJECT, Owner, Project
from ampacity.model.node import Marks, NodeCondition
from ampacity.model.plan import QueueStanding
from ampacity.model.policy import DEFAULT_POLICY
from ampacity.model.queue_file import parse_queue_file
from ampacity.model.receipt import Receipt
from ampacity.model.route_file import parse_route_file
from ampacity.model.site import Site
from ampacity.model.topology_file import parse_topology_file
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
    StoryKind,
    TopologyChanges,
    Why,
    WorkloadView,
)
from ampacity.model.workload import Wish, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.observe.measured import Measurements, Series
from ampacity.secrets.secret import Secret, check_name, check_value


class PlaneDouble(PlaneRows):
    """Fulfils ``Plane``."""

    def status(self) -> Status:
        self._called("status")
        return Status(
            version=__version__,
            pid=1,
            state_dir="/state",
            started_at=1.0,
            seq=len(self._events),
            waiting=sum(not view.workload.phase.ended for view in self._views.values()),
            running=0,
            nodes=len(self._nodes),
            socket="",
            api_url="",
            gateway_url="",
        )

    def submit(
        self,
        specs: Sequence[WorkloadSpec],
        *,
        project: Project,
        owner: Owner,
        indices: Sequence[int] = (),
        receipt: MakeReceipt | None = None,
    ) -> tuple[WorkloadView, ...]:
        if indices:
            specs = [replace(spec, name=element_name(spec.name, index)) for spec in specs for index in indices]
        views = tuple(self._view(spec, project, owner, next(self._numbers)) for spec in specs)
        if indices:
            places = [ArrayPlace(array="a", index=index, size=len(indices)) for index in indices]
            views = tuple(
                replace(view, workload=replace(view.workload, array=place))
                for view, place in zip(views, places, strict=True)
            )
        kept = None if receipt is None else receipt(views, 1.0)
        if kept is not None and kept.key in self.receipts:  # in a transaction this comes before all else
            raise Repeated(kept.key)
        self._called("submit")
        live = {view.workload.name for view in list(self._views.values()) if not view.workload.phase.ended}
        for spec in specs:
            if spec.name in live:
                raise NameTaken(f"{spec.name!r} is taken.", hint="Choose another name.")
        for view in views:
            self._register(view)
        if kept is not None:
            self._keep(kept)
        return views

    def workloads(
        self,
        *,
        project: Project | None,
        kinds: Collection[WorkloadKind] | None,
        phases: Collection[WorkloadPhase] | None,
        limit: int,
        before: tuple[float, str] | None,
    ) -> tuple[WorkloadView, ...]:
        self._called("workloads")
        found = [
            view
            for view in self._views.values()
            if (view.workload.project == project if project else view.workload.project != SYSTEM_PROJECT)
            and (kinds is None or view.workload.kind in kinds)
            and (phases is None or view.workload.phase in phases)
            and (before is None or (view.workload.created_at, view.workload.id) < before)
        ]
        found.sort(key=lambda view: (view.workload.created_at, view.workload.id), reverse=True)
        return tuple(found[:limit])

    def workload(self, ref: str, *, project: Project) -> WorkloadView:
        self._called("workload")
        return self._find(ref, project)

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
        self._called("set_desired")
        with self._changed:
            view = self._find(ref, project)
            if view.workload.phase.ended:
                raise Conflict(f"{ref} has ended.")
            desired = replace(view.desired, wish=wish or view.desired.wish, by=by, version=view.desired.version + 1)
            if replicas is not None:
                desired = replace(desired, replicas=replicas)
            if size is not None:
                desired = replace(desired, size=size or None)
            self._views[view.workload.id] = replace(view, desired=desired)
            self._note(EventKind.DESIRED_CHANGED, f"{ref} changed", view.workload)
            return self._views[view.workload.id]

    def why(self, ref: str, *, project: Project) -> Why:
        self._called("why")
        view = self._find(ref, project)
        return Why(workload=view.workload.id, kind=StoryKind.WAITING, headline="It waits.", lines=("for a node",))

    def logs(
        self, ref: str, *, project: Project, cursor: str | None, rank: int | None, replica: int | None, limit: int
    ) -> LogSlice:
        self._called("logs")
        view = self._find(ref, project)
        ended = view.workload.phase.ended
        lines = self._logs[view.workload.id]
        if cursor is not None and not re.fullmatch(r"[0-9]{1,9}", cursor):
            raise InvalidSpec("That is no cursor.", where=Where(key="cursor"))
        start = int(cursor or 0)
        part = lines[start : start + limit]
        kept = tuple(
            line
            for line in part
            if (rank is None or line.rank == rank) and (replica is None or line.replica == replica)
        )
        return LogSlice(records=kept, cursor=str(start + len(part)), ended=ended and start + len(part) == len(lines))

    def progress(self, ref: str, *, project: Project) -> tuple[ProgressPoint, ...]:
        self._called("progress")
        self._find(ref, project)
        return self.points

    def files(self, ref: str, *, project: Project, replica: int, member: int) -> LocalMemberFiles:
        self._called("files")
        self._find(ref, project)
        if self.folder is None:
            raise NotFound("It has no folder.")
        return LocalMemberFiles(f"{self.folder}/work", f"{self.folder}/private")

    def exec(self, ref: str, argv: tuple[str, ...], *, project: Project, **how: Any) -> Exec:
        self._called("exec")
        self._find(ref, project)
        raise Conflict(f"{ref} does not run.")

    def nodes(self) -> tuple[NodeView, ...]:
        self._called("nodes")
        return tuple(self._node_view(node) for node in self._nodes.values())

    def search(self, ask: LogSearch) -> Iterator[tuple[LogHit, ...]]:
        self._called("search")
        self.searches.append(ask)
        idents = list(self._views) if ask.ref is None else [self._find(ask.ref, ask.project).workload.id]
        hits = [
            LogHit(workload=ident, name=self._views[ident].workload.name, record=record, matched=True, group=1)
            for ident in idents
            for record in self._logs.get(ident, [])
            if re.search(ask.pattern, record.text)
        ]
        return iter([(), tuple(hits), ()])

    def measurements(self, *, history_points: int, step_s: float) -> Measurements:
        self._called("measurements")
        past = {"cpu_percent": (None,) * (history_points - 1) + (12.5,)} if history_points else {}
        host = Series(labels={"node": "n0"}, at=100.0, values={"cpu_percent": 12.5}, history=past)
        return Measurements(at=100.0, hosts=(host,), step_s=step_s)

    def metrics(self, *, openmetrics: bool) -> bytes:
        self._called("metrics")
        return b"# EOF\n" if openmetrics else b"ampacity_nodes 1\n"

    def set_condition(self, node: str, condition: NodeCondition, *, by: str) -> NodeView:
        self._called("set_condition")
        if node not in self._nodes:
            raise NotFound(f"There is no node {node!r}.")
        self.actors.append(by)
        self._nodes[node] = replace(self._nodes[node], condition=condition)
        return self._node_view(self._nodes[node])

    def topology(self) -> Site:
        self._called("topology")
        return self.site

    def apply_topology(self, text: str, *, file: str, by: str, dry_run: bool) -> TopologyChanges:
        self._called("apply_topology")
        read = parse_topology_file(text, file=file)
        read.refuse_unknown(self._nodes)
        self.actors.append(by)
        if not dry_run:
            self.site = read.site(self.site.version + 1)
        return TopologyChanges(dry_run=dry_run, changes=tuple(f"tree {tree} comes" for tree in read.levels))

    def routes(self) -> RoutesView:
        self._called("routes")
        return RoutesView(routes=self.public, ready={"writer": 2})

    def apply_routes(self, text: str, *, file: str, by: str, dry_run: bool) -> RouteChanges:
        self._called("apply_routes")
        read = parse_route_file(text, file=file)
        self.actors.append(by)
        if not dry_run:
            self.public = read.routes or ()
        return RouteChanges(dry_run=dry_run, changes=tuple(f"{route.name} comes" for route in read.routes or ()))

    def mark_node(
        self, node: str, *, labels: Mapping[str, str | None], taints: Mapping[str, str | None], by: str
    ) -> NodeView:
        self._called("mark_node")
        if node not in self._nodes:
            raise NotFound(f"There is no node {node!r}.")
        self.actors.append(by)
        marks = Marks(
            labels={key: value for key, value in labels.items() if value is not None},
            taints=tuple(key for key, value in taints.items() if value is not None),
        )
        self._nodes[node] = replace(self._nodes[node], marks=marks)
        return self._node_view(self._nodes[node])

    def events(self, *, after: int, ref: str | None, project: Project, limit: int) -> tuple[EventView, ...]:
        self._called("events")
        ident = None if ref is None else self._find(ref, project).workload.id
        found = [event for event in self._events[after:] if ident in (None, event.workload)]
        return tuple(found[:limit])

    def models(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        self._called("models")
        return tuple(model for model in self._models if name in (None, model.name))

    def model(self, ref: str) -> ModelVersion:
        self._called("model")
        for model in reversed(self._models):
            if ref in (model.name, model.ref, *(f"{model.name}:{tag}" for tag in model.tags)):
                return model
        raise NotFound(f"There is no model {ref!r}.", hint="See `ampacity models`.")

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
        self._called("add_model")
        lineage = Lineage(run=run or "", step=step, data=tuple(data), project=project, checkpoint=path)
        model = ModelVersion(
            name=name,
            version=1 + sum(model.name == name for model in self._models),
            digest="sha256:00",
            created_at=1.0,
            files=(),
            size_bytes=0,
            lineage=lineage,
            tags=tuple(tags),
        )
        self._models.append(model)
        return model

    def remove_model(self, ref: str) -> ModelVersion:
        self._called("remove_model")
        model = self.model(ref)
        self._models.remove(model)
        return model

    def queues(self) -> QueueTreeView:
        self._called("queues")
        standings = [QueueStanding(queue=queue, quota=queue.quota) for queue in self._queues]
        return QueueTreeView(queues=tuple(standings), policy=DEFAULT_POLICY, capacity={"cpus": 16000})

    def apply_queues(self, text: str, *, file: str, by: str, dry_run: bool) -> QueueChanges:
        self._called("apply_queues")
        read = parse_queue_file(text, file=file)
        added = tuple(str(queue.name) for queue in read.queues or ())
        if not dry_run:
            self._queues = read.queues or ()
        return QueueChanges(dry_run=dry_run, added=added)

    def secrets(self, project: Project) -> tuple[Secret, ...]:
        self._called("secrets")
        return tuple(secret for secret in self._secrets.values() if secret.project == project)

    def put_secret(self, project: Project, name: str, value: bytes, *, by: str) -> Secret:
        self._called("put_secret")
        check_value(value)
        self._secrets[name] = Secret(project=project, name=check_name(name), changed_at=1.0, by=by)
        return self._secrets[name]

    def remove_secret(self, project: Project, name: str) -> Secret:
        self._called("remove_secret")
        if name not in self._secrets:
            raise NotFound(f"There is no secret {name!r}.")
        return self._secrets.pop(name)

    def rotate_secret_key(self) -> int:
        self._called("rotate_secret_key")
        return len(self._secrets)

    def receipt(self, key: str) -> Receipt | None:
        return self.receipts.get(key)

    def keep_receipt(self, asked: Asked, answer: bytes) -> None:
        self._keep(Receipt(key=asked.key, digest=asked.digest, answer=answer, at=1.0))

    def _keep(self, receipt: Receipt) -> None:
        if receipt.key in self.receipts:
            raise Repeated(receipt.key)
        self.receipts[receipt.key] = receipt

    def follow(self, told: Callable[[News], None]) -> Callable[[], None]:
        self._followers.append(told)
        return lambda: self._followers.remove(told)

    def lives(self, workload: str) -> bool:
        view = self._views.get(workload)
        return view is not None and not view.workload.phase.ended

    def shutdown(self, *, workloads: bool) -> None:
        self._called("shutdown")
        self.shutdowns.append(workloads)

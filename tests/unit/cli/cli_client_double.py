"""A client in memory, with a small world in it: what the verbs ask for is what is here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cli_nouns import NOW, a_model, an_attempt

from ampacity import __version__
from ampacity.api.answers import KeyView, UsageReport, key_view
from ampacity.client.key_calls import MadeKey
from ampacity.control.keys import Keys
from ampacity.hub.version import ModelVersion
from ampacity.model.access import ApiKey, Limits, ProjectLimits, digest_of
from ampacity.model.attempt import Attempt, AttemptPhase, Cause
from ampacity.model.errors import Conflict, NameTaken, NotFound
from ampacity.model.event import EventKind
from ampacity.model.ids import KeyId, Project, WorkloadId
from ampacity.model.node import Marks, NodeCondition
from ampacity.model.plan import QueueStanding, Wait, WaitCode
from ampacity.model.policy import DEFAULT_POLICY
from ampacity.model.queue_file import parse_queue_file
from ampacity.model.site import EMPTY_SITE, Site
from ampacity.model.view import (
    EventView,
    LogRecord,
    NodeView,
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
from ampacity.model.workload import (
    Desired,
    Replica,
    ReplicaPhase,
    Wish,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)
from ampacity.secrets.secret import Secret
from ampacity.store.memory import MemoryStore


class ClientDouble:
    """``fail``: what a method shall raise. ``calls``: what was asked, in order."""

    def __init__(self, project: str = "default") -> None:
        self.secret_values: dict[str, bytes] = {}
        self.report = UsageReport(sums=(), names={}, lost=0)
        self.key_book = Keys(MemoryStore(), time.time)
        self.project = project
        self.views: dict[str, WorkloadView] = {}
        self.records: dict[str, list[LogRecord]] = {}
        self.node_views: dict[str, NodeView] = {}
        self.route_view = RoutesView()
        self.site = EMPTY_SITE
        self.model_list: list[ModelVersion] = []
        self.standings: tuple[QueueStanding, ...] = ()
        self.event_list: list[EventView] = []
        self.fail: dict[str, Exception] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.on_submit: Any = None
        self.gateway_url = "http://127.0.0.1:8080"
        self.state_dir = "/state"

    def __enter__(self) -> ClientDouble:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(("close",))

    # What the verbs call -------------------------------------------------------------------------------------------

    def status(self) -> Status:
        self._called("status")
        live = [view for view in self.views.values() if not view.workload.phase.ended]
        return Status(
            version=__version__,
            pid=4711,
            state_dir=self.state_dir,
            started_at=time.time() - 3 * 3600,
            seq=len(self.event_list),
            waiting=sum(view.workload.phase is WorkloadPhase.WAITING for view in live),
            running=sum(view.workload.phase is WorkloadPhase.RUNNING for view in live),
            nodes=len(self.node_views),
            socket="/state/api.sock",
            api_url="http://127.0.0.1:7077",
            gateway_url=self.gateway_url,
            keys=sum(key.usable(time.time()) for key in self.key_book.all()),
            endpoint_open=not self.key_book.all(),
        )

    def shutdown(self, *, workloads: bool = False) -> None:
        self._called("shutdown", workloads)

    def submit(self, spec: WorkloadSpec) -> WorkloadView:
        self._called("submit", spec)
        if any(view.workload.name == spec.name and not view.workload.phase.ended for view in self.views.values()):
            raise NameTaken(f"There is a live workload {spec.name!r} already.", hint="Stop it or choose another name.")
        view = self.add(spec.name, spec.kind, spec=spec)
        if self.on_submit is not None:
            self.on_submit(view)
        return self.views[view.workload.id]

    def workloads(
        self, *, all: bool = False, project: Any = None, kinds: Any = (), phases: Any = (), page: int = 100
    ) -> Iterator[Any]:
        self._called("workloads", all, project, tuple(kinds), tuple(phases))
        for view in reversed(self.views.values()):
            theirs = view.workload.project
            fits = (project == theirs if project else theirs != "system") and (not kinds or view.workload.kind in kinds)
            if fits and (not phases or view.workload.phase in phases):
                yield view

    def workload(self, ref: str) -> WorkloadView:
        self._called("workload", ref)
        return self._find(ref)

    def wait(self, ref: str, timeout_s: float | None = None) -> WorkloadView:
        self._called("wait", ref, timeout_s)
        view = self._find(ref)
        if not view.workload.phase.ended:
            raise TimeoutError(f"{ref} has not ended after {timeout_s:g} s.")
        return view

    def stop(self, ref: str) -> WorkloadView:
        self._called("stop", ref)
        view = self._find(ref)
        if view.workload.phase.ended:
            raise Conflict(f"{view.workload.name} has ended.")
        return self.change(view, phase=WorkloadPhase.STOPPING)

    def scale(self, ref: str, replicas: int) -> WorkloadView:
        self._called("scale", ref, replicas)
        view = self._find(ref)
        if view.workload.kind is not WorkloadKind.SERVICE:
            raise Conflict(f"{ref} is a {view.workload.kind}, not a service.", hint="Only services have replicas.")
        view = replace(view, desired=replace(view.desired, replicas=replicas))
        self.views[view.workload.id] = view
        return view

    def resize(self, ref: str, nodes: int) -> WorkloadView:
        self._called("resize", ref, nodes)
        view = self._find(ref)
        view = replace(view, desired=replace(view.desired, size=nodes or None))
        self.views[view.workload.id] = view
        return view

    def why(self, ref: str) -> Why:
        self._called("why", ref)
        view = self._find(ref)
        return Why(
            workload=view.workload.id,
            kind=StoryKind.ENDED,
            headline=f"{view.workload.name} failed: rank 1 ended with exit code 3.",
            lines=("attempt 1 ran for 4 s on n1", "it may not begin again: retry.max is 0"),
            change="Give it retries: `retry: {max: 3}`.",
            last_lines=("Traceback (most recent call last):", "ValueError: [red]loss[/red] is nan"),
        )

    def logs(self, ref: str, *, follow: bool = False, tail: Any = None, rank: Any = None, replica: Any = None) -> Any:
        self._called("logs", ref, follow, tail, rank, replica)
        found = [
            record
            for record in self.records.get(self._find(ref).workload.id, [])
            if rank in (None, record.rank) and replica in (None, record.replica)
        ]
        yield from found if tail is None else found[len(found) - min(tail, len(found)) :]

    def events(self, *, after: int = 0, workload: Any = None, follow: bool = False) -> Iterator[EventView]:
        self._called("events", after, workload, follow)
        for event in self.event_list:
            if event.seq > after and workload in (None, event.workload):
                yield event

    def nodes(self) -> tuple[NodeView, ...]:
        self._called("nodes")
        return tuple(self.node_views.values())

    def set_condition(self, node: str, condition: NodeCondition) -> NodeView:
        self._called("set_condition", node, condition)
        if node not in self.node_views:
            raise NotFound(f"There is no node {node!r}.", hint="`ampacity nodes` lists them.")
        view = self.node_views[node]
        self.node_views[node] = replace(view, node=replace(view.node, condition=condition))
        return self.node_views[node]

    def mark_node(self, node: str, *, labels: Mapping[str, str | None], taints: Mapping[str, str | None]) -> NodeView:
        self._called("mark_node", node, dict(labels), dict(taints))
        view = self.node_views[node]
        marks = Marks(
            labels={key: value for key, value in labels.items() if value is not None},
            taints=tuple(f"{key}={value}" if value else key for key, value in taints.items() if value is not None),
        )
        self.node_views[node] = replace(view, node=replace(view.node, marks=marks))
        return self.node_views[node]

    def topology(self) -> Site:
        return self.site

    def apply_topology(self, text: str, *, name: str, dry_run: bool = False) -> TopologyChanges:
        self._called("apply_topology", text, name, dry_run)
        return TopologyChanges(dry_run=dry_run, changes=("tree fabric (leaf) comes with 1 node",))

    def routes(self) -> RoutesView:
        return self.route_view

    def apply_routes(self, text: str, *, name: str, dry_run: bool = False) -> RouteChanges:
        self._called("apply_routes", text, name, dry_run)
        return RouteChanges(dry_run=dry_run, changes=("chat comes: writer 100%",), unserved=("writer",))

    def queues(self) -> QueueTreeView:
        self._called("queues")
        return QueueTreeView(queues=self.standings, policy=DEFAULT_POLICY)

    def apply_queues(self, text: str, *, name: str, dry_run: bool = False) -> QueueChanges:
        self._called("apply_queues", name, dry_run)
        read = parse_queue_file(text, file=name)
        added = tuple(str(queue.name) for queue in read.queues or ())
        return QueueChanges(dry_run=dry_run, added=added, changes=("default: weight 1 -> 2",))

    def secrets(self) -> tuple[Secret, ...]:
        return tuple(
            Secret(project=Project(self.project), name=name, changed_at=1.0, by="me") for name in self.secret_values
        )

    def set_secret(self, name: str, value: bytes) -> Secret:
        self.secret_values[name] = value
        return Secret(project=Project(self.project), name=name, changed_at=1.0, by="me")

    def remove_secret(self, name: str) -> Secret:
        if self.secret_values.pop(name, None) is None:
            raise NotFound(f"There is no secret {name!r}.")
        return Secret(project=Project(self.project), name=name, changed_at=1.0, by="me")

    def rotate_secret_key(self) -> int:
        return len(self.secret_values)

    def api_keys(self, *, all: bool = False) -> tuple[KeyView, ...]:
        found = self.key_book.of_project(Project(self.project))
        return tuple(key_view(key) for key in found if all or key.usable(time.time()))

    def create_key(self, name: str, *, limits: Limits, **more: Any) -> MadeKey:
        key = ApiKey(id=KeyId(""), name=name, digest=digest_of(name), shown="wxyz", limits=limits, **more)
        made = self.key_book.create(replace(key, project=Project(self.project)), by="me")
        return MadeKey(key=key_view(made), secret=f"amp-{name}")

    def limit_key(self, name: str, limits: Limits) -> KeyView:
        return key_view(self.key_book.limit(name, limits, project=Project(self.project), by="me"))

    def revoke_key(self, name: str) -> KeyView:
        return key_view(self.key_book.revoke(name, project=Project(self.project), by="me"))

    def usage(self, *, by: Any, since: float, all_projects: bool) -> UsageReport:
        self._called("usage", tuple(by), since, all_projects)
        return self.report

    def limits(self) -> ProjectLimits:
        return self.key_book.project_limits(Project(self.project))

    def set_limits(self, limits: Limits, *, weight: float) -> ProjectLimits:
        return self.key_book.limit_project(Project(self.project), limits, weight=weight, by="me")

    def models(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        self._called("models", name)
        return tuple(model for model in self.model_list if name in (None, model.name))

    def model(self, ref: str) -> ModelVersion:
        self._called("model", ref)
        for model in self.model_list:
            if ref in (model.name, model.ref, *(f"{model.name}:{tag}" for tag in model.tags)):
                return model
        raise NotFound(f"There is no model {ref!r}.", hint="`ampacity models` lists them.")

    def add_model(
        self, name: str, path: Any, *, tags: Any = (), run: Any = None, step: Any = None, data: Any = ()
    ) -> Any:
        self._called("add_model", name, str(path), tuple(tags), run, step, tuple(data))
        model = a_model(name, 1 + sum(each.name == name for each in self.model_list), tags=tuple(tags))
        self.model_list.append(model)
        return model

    def remove_model(self, ref: str) -> ModelVersion:
        self._called("remove_model", ref)
        model = self.model(ref)
        self.model_list.remove(model)
        return model

    # What tests do -------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        kind: WorkloadKind | str = WorkloadKind.TASK,
        phase: WorkloadPhase | str = WorkloadPhase.WAITING,
        *,
        spec: WorkloadSpec | None = None,
        attempts: tuple[Attempt, ...] = (),
        wait: str = "",
        age_s: float = 65.0,
        project: str = "default",
        note: str = "",
        replicas: int = 1,
    ) -> WorkloadView:
        kind, phase = WorkloadKind(kind), WorkloadPhase(phase)
        ident = WorkloadId(f"w{len(self.views):04d}")
        now = time.time()
        workload = Workload(
            id=ident,
            name=name,
            kind=kind,
            phase=phase,
            project=Project(project),
            created_at=now - age_s,
            ended_at=now if phase.ended else None,
            note=note,
        )
        waits = (Wait(workload=ident, replica=0, code=WaitCode.INSUFFICIENT, text=wait),) if wait else ()
        view = WorkloadView(
            workload=workload,
            spec=spec or WorkloadSpec(name=name, kind=kind, run="true", replicas=replicas),
            desired=Desired(workload=ident, wish=Wish.RUN, replicas=replicas),
            replicas=tuple(Replica(workload=ident, index=n, phase=ReplicaPhase.ACTIVE) for n in range(replicas)),
            attempts=tuple(replace(each, workload=ident) for each in attempts),
            waits=waits,
        )
        self.views[ident] = view
        return view

    def change(self, view: WorkloadView, *, attempts: Any = None, **changes: Any) -> WorkloadView:
        view = replace(view, workload=replace(view.workload, **changes))
        if attempts is not None:
            view = replace(view, attempts=attempts)
        self.views[view.workload.id] = view
        return view

    def end(self, view: WorkloadView, cause: Cause) -> WorkloadView:
        """As its only attempt ended."""
        done = cause.completed
        attempt = an_attempt(AttemptPhase.SUCCEEDED if done else AttemptPhase.FAILED, cause=cause)
        phase = WorkloadPhase.SUCCEEDED if done else WorkloadPhase.FAILED
        return self.change(view, attempts=(attempt,), phase=phase, ended_at=time.time())

    def say(self, view: WorkloadView, *texts: str, stream: str = "out", rank: int = -1, replica: int = 0) -> None:
        records = self.records.setdefault(view.workload.id, [])
        for text in texts:
            at = NOW + len(records)
            records.append(LogRecord(at=at, replica=replica, epoch=1, member=0, rank=rank, stream=stream, text=text))

    def happen(self, kind: EventKind, text: str, workload: str | None = None) -> None:
        seq = len(self.event_list) + 1
        self.event_list.append(
            EventView(
                seq=seq, at=NOW + seq, kind=kind, text=text, project="default", owner="default", actor="ampacity",
                workload=workload,
            )
        )  # fmt: skip

    def asked(self, method: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == method]

    def _called(self, method: str, *arguments: Any) -> None:
        self.calls.append((method, *arguments))
        if method in self.fail:
            raise self.fail[method]

    def _find(self, ref: str) -> WorkloadView:
        named = [view for view in self.views.values() if ref in (view.workload.id, view.workload.name)]
        if not named:
            raise NotFound(f"There is no workload {ref!r} in {self.project}.", hint="`ampacity ps -a` lists them.")
        return named[-1]


def ends_with(client: ClientDouble, cause: Cause, *lines: tuple[str, str]) -> None:
    """What is submitted prints these (stream, text) lines and ends so."""

    def on_submit(view: WorkloadView) -> None:
        for stream, text in lines:
            client.say(view, text, stream=stream)
        client.end(view, cause)

    client.on_submit = on_submit

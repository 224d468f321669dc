"""What a control plane in memory holds, and what tests do to it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ampacity.control.keys import Keys
from ampacity.control.metering import Metering
from ampacity.control.plane import LogSearch, News
from ampacity.hub.version import ModelVersion
from ampacity.model.errors import NotFound
from ampacity.model.event import EventKind
from ampacity.model.ids import NodeId, Owner, Project, WorkloadId
from ampacity.model.node import Node
from ampacity.model.queue import Queue
from ampacity.model.receipt import Receipt
from ampacity.model.resources import Allocation
from ampacity.model.route import Route
from ampacity.model.site import EMPTY_SITE
from ampacity.model.view import EventView, LogRecord, NodeView, ProgressPoint, WorkloadView
from ampacity.model.workload import Desired, Replica, Workload, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.secrets.secret import Secret
from ampacity.store.memory import MemoryStore


class PlaneRows:
    """``calls`` counts the calls by method; ``fail`` maps a method to what it shall raise."""

    def __init__(self) -> None:
        self._changed = threading.Lock()
        self._followers: list[Callable[[News], None]] = []
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._views: dict[str, WorkloadView] = {}
        self._numbers = itertools.count()
        self._events: list[EventView] = []
        self._logs: dict[str, list[LogRecord]] = {}
        self._models: list[ModelVersion] = []
        self._nodes = {
            f"n{index}": Node(id=NodeId(f"n{index}"), driver="fake", cpu_milli=8000, memory_bytes=1 << 34)
            for index in range(2)
        }
        self.folder: Path | None = None
        self._secrets: dict[str, Secret] = {}
        self.site = EMPTY_SITE
        self.public: tuple[Route, ...] = ()
        self._queues: tuple[Queue, ...] = ()
        books = MemoryStore()
        self.keys = Keys(books, time.time)
        self.metering = Metering(books, self.keys, Path("/nowhere"), time.time)
        self.receipts: dict[str, Receipt] = {}
        self.searches: list[LogSearch] = []
        self.points: tuple[ProgressPoint, ...] = ()
        self.shutdowns: list[bool] = []
        self.actors: list[str] = []
        self.calls: dict[str, int] = {}
        self.fail: dict[str, Exception] = {}

    def end(self, ref: str, phase: WorkloadPhase = WorkloadPhase.SUCCEEDED) -> None:
        with self._changed:
            view = self._views[ref]
            workload = replace(view.workload, phase=phase, ended_at=time.time(), version=view.workload.version + 1)
            self._views[ref] = replace(view, workload=workload)
            self._note(EventKind.WORKLOAD_ENDED, f"{ref} ended", workload)

    def say(self, ref: str, *texts: str, rank: int = -1, replica: int = 0, at: float | None = None) -> None:
        with self._changed:
            lines = self._logs[ref]
            for text in texts:
                when = float(len(lines)) if at is None else at
                lines.append(LogRecord(at=when, replica=replica, epoch=1, member=0, rank=rank, stream="out", text=text))

    def add(self, name: str, *, created_at: float, project: str = "default", phase: str = "waiting") -> str:
        spec = WorkloadSpec(name=name, kind=WorkloadKind.TASK, run="true")
        view = self._new(spec, Project(project), Owner("default"), created_at)
        if phase != "waiting":
            self.end(view.workload.id, WorkloadPhase(phase))
        return view.workload.id

    def add_nodes(self, count: int) -> None:
        for index in range(count):
            ident = f"more{index}"
            self._nodes[ident] = Node(id=NodeId(ident), driver="fake", cpu_milli=8000, memory_bytes=1 << 34)

    def _called(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        if method in self.fail:
            raise self.fail[method]

    def _find(self, ref: str, project: Project) -> WorkloadView:
        if ref in self._views:
            return self._views[ref]
        named = [view for view in self._views.values() if (view.workload.name, view.workload.project) == (ref, project)]
        if not named:
            raise NotFound(f"There is no workload {ref!r} in {project}.", hint="See `ampacity ps`.")
        return max(named, key=lambda view: (not view.workload.phase.ended, view.workload.created_at))

    def _new(self, spec: WorkloadSpec, project: Project, owner: Owner, created_at: float) -> WorkloadView:
        view = self._view(spec, project, owner, len(self._views), created_at)
        self._register(view)
        return view

    @staticmethod
    def _view(
        spec: WorkloadSpec, project: Project, owner: Owner, number: int, created_at: float | None = None
    ) -> WorkloadView:
        ident = WorkloadId(f"w{number:04d}")
        workload = Workload(
            id=ident,
            name=spec.name,
            kind=spec.kind,
            project=project,
            owner=owner,
            created_at=float(number) if created_at is None else created_at,
        )
        return WorkloadView(
            workload=workload,
            spec=spec,
            desired=Desired(workload=ident, replicas=spec.replicas),
            replicas=(Replica(workload=ident, index=0),),
            attempts=(),
        )

    def _register(self, view: WorkloadView) -> None:
        with self._changed:
            self._views[view.workload.id] = view
            self._logs[view.workload.id] = []
            self._note(EventKind.WORKLOAD_SUBMITTED, f"{view.workload.name} submitted", view.workload)

    def _note(self, kind: EventKind, text: str, workload: Workload) -> None:
        fields: dict[str, Any] = {"project": workload.project, "owner": workload.owner, "actor": "test"}
        seq = len(self._events) + 1
        self._events.append(EventView(seq=seq, at=float(seq), kind=kind, text=text, workload=workload.id, **fields))
        ended = frozenset({workload.id} if workload.phase.ended else ())
        for told in self._followers:
            told(News(seq=seq, ended=ended))

    def _node_view(self, node: Node) -> NodeView:
        return NodeView(node=node, used=Allocation(cpu_milli=0, memory_bytes=0), attempts=())

"""The Protocol of the control plane as the API sees it: every use case, one method each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ampacity.drivers.base import Exec, MemberFiles, TerminalSize
from ampacity.hub.version import ModelVersion
from ampacity.model.ids import Owner, Project, WorkloadId
from ampacity.model.node import NodeCondition
from ampacity.model.receipt import Receipt
from ampacity.model.site import Site
from ampacity.model.view import (
    EventView,
    LogHit,
    LogRecord,
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
from ampacity.secrets.secret import Secret

from .keys import Keys
from .metering import Metering
from .submitting import MakeReceipt


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSlice:
    """Some lines, where to go on, and whether the workload has ended so that none will follow."""

    records: tuple[LogRecord, ...]
    cursor: str
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What was just written: the number of the last event, and the workloads that have ended by it."""

    seq: int
    ended: frozenset[WorkloadId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A write that may be asked for again: the ``key`` that it goes by, and the ``digest`` of all that it says."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSearch:
    """What to look for in logs. ``ref`` ``None``: in all of the project's. ``pattern``: see ``observe.search``.
    ``context``: so many lines before and after. ``since``: seconds since the epoch. ``limit``: so many matches."""

    pattern: str
    project: Project
    ref: str | None = None
    fixed: bool = False
    ignore_case: bool = False
    context: int = 0
    since: float | None = None
    rank: int | None = None
    replica: int | None = None
    limit: int | None = None


class Plane(Protocol):
    """All methods may be called from any thread. ``ref`` is a workload's id, or the name of one of the project's:
    the live one, else the newest. All raise ``NotFound`` for a ``ref`` that is not there."""

    def status(self) -> Status: ...

    def submit(
        self,
        specs: Sequence[WorkloadSpec],
        *,
        project: Project,
        owner: Owner,
        indices: Sequence[int] = (),
        receipt: MakeReceipt | None = None,
    ) -> tuple[WorkloadView, ...]:
        """The new workloads, in the order of the specs, all or none; they may come after one another.

        ``indices``: each spec becomes an array, one workload for each index. ``receipt`` makes what is written with
        the workloads, of their views and the time.

        Raises ``NameTaken``, ``ImpossibleRequest``, ``InvalidSpec``, ``NotFound`` (``after``, ``model``), ``Repeated``.
        """
        ...

    def workloads(
        self,
        *,
        project: Project | None,
        kinds: Collection[WorkloadKind] | None,
        phases: Collection[WorkloadPhase] | None,
        limit: int,
        before: tuple[float, str] | None,
    ) -> tuple[WorkloadView, ...]:
        """Newest first. ``project`` ``None`` = all but ``system``."""
        ...

    def workload(self, ref: str, *, project: Project) -> WorkloadView: ...

    def lives(self, workload: str) -> bool:
        """Whether there is a workload of that id that has not ended. Answered at once, without reading."""
        ...

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
        """``size``: nodes of a gang; 0 = again as its spec says. Raises ``Conflict`` when it has ended, or cannot have
        that many."""
        ...

    def why(self, ref: str, *, project: Project) -> Why: ...

    def logs(
        self, ref: str, *, project: Project, cursor: str | None, rank: int | None, replica: int | None, limit: int
    ) -> LogSlice:
        """Lines of all attempts, in the order of time. ``cursor`` ``None`` = from the beginning."""
        ...

    def search(self, ask: LogSearch) -> Iterator[tuple[LogHit, ...]]:
        """The lines that match, page by page; a page may be empty. Close it to end the search early.

        Raises (with the first page, too) ``InvalidSpec``: the pattern is wrong, or takes too long.
        """
        ...

    def progress(self, ref: str, *, project: Project) -> tuple[ProgressPoint, ...]: ...

    def files(self, ref: str, *, project: Project, replica: int, member: int) -> MemberFiles:
        """The files of a member of the replica's newest attempt."""
        ...

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
        """A command inside a member of the replica's newest attempt. Raises ``Conflict`` when it does not run."""
        ...

    def nodes(self) -> tuple[NodeView, ...]: ...

    def queues(self) -> QueueTreeView:
        """How the queues stand."""
        ...

    def apply_queues(self, text: str, *, file: str, by: str, dry_run: bool) -> QueueChanges:
        """Make the queue tree and the scheduler's settings what a queue file says, as a whole; with ``dry_run`` only
        say what would change and move. Raises ``InvalidSpec``, ``Conflict``."""
        ...

    def topology(self) -> Site:
        """Trees of places, feeds and licences."""
        ...

    def apply_topology(self, text: str, *, file: str, by: str, dry_run: bool) -> TopologyChanges:
        """Make them what a topology file says, as a whole; with ``dry_run`` only say what would change. Raises
        ``InvalidSpec``, ``Conflict``."""
        ...

    def routes(self) -> RoutesView:
        """Public names, the models behind them, and how many replicas of each are ready."""
        ...

    def apply_routes(self, text: str, *, file: str, by: str, dry_run: bool) -> RouteChanges:
        """Make the routes what a route file says, as a whole; with ``dry_run`` only say what would change. Raises
        ``InvalidSpec``, ``Conflict``."""
        ...

    def mark_node(
        self, node: str, *, labels: Mapping[str, str | None], taints: Mapping[str, str | None], by: str
    ) -> NodeView:
        """Give a node labels and taints, or with ``None`` take them off. Raises ``NotFound``, ``Conflict``."""
        ...

    def measurements(self, *, history_points: int, step_s: float) -> Measurements:
        """What is measured now, with so many points of the past, ``step_s`` apart."""
        ...

    def metrics(self, *, openmetrics: bool) -> bytes:
        """All metrics as Prometheus reads them, or in OpenMetrics."""
        ...

    def set_condition(self, node: str, condition: NodeCondition, *, by: str) -> NodeView: ...

    def events(self, *, after: int, ref: str | None, project: Project, limit: int) -> tuple[EventView, ...]: ...

    def models(self, name: str | None = None) -> tuple[ModelVersion, ...]: ...

    def model(self, ref: str) -> ModelVersion:
        """``ref``: ``name``, ``name:version`` or ``name:tag``."""
        ...

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
        """Register the files at ``path`` on the server's machine, with the lineage of ``run`` (a workload)."""
        ...

    def remove_model(self, ref: str) -> ModelVersion: ...

    def secrets(self, project: Project) -> tuple[Secret, ...]:
        """By name, without their values: those are never told."""
        ...

    def put_secret(self, project: Project, name: str, value: bytes, *, by: str) -> Secret:
        """Set it, anew or for the first time. Raises ``InvalidSpec``."""
        ...

    def remove_secret(self, project: Project, name: str) -> Secret: ...

    def rotate_secret_key(self) -> int:
        """Seal all secrets with a new key; answers how many."""
        ...

    @property
    def keys(self) -> Keys:
        """API keys, and the limits of keys and projects."""
        ...

    @property
    def metering(self) -> Metering:
        """The books of what requests to models have used."""
        ...

    def receipt(self, key: str) -> Receipt | None:
        """What was answered to the write of that key in the last day."""
        ...

    def keep_receipt(self, asked: Asked, answer: bytes) -> None:
        """Keep what was answered. Raises ``Repeated`` when there is a receipt of that key."""
        ...

    def follow(self, told: Callable[[News], None]) -> Callable[[], None]:
        """Have ``told`` called after each write, in their order, by the thread that wrote: it must be quick, and must
        not raise. Call the answer to end it."""
        ...

    def shutdown(self, *, workloads: bool) -> None:
        """Ask the daemon to end. Without ``workloads`` all that runs, runs on."""
        ...

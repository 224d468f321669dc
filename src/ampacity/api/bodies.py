"""What requests carry: bodies and queries. Whatever is not named here is refused."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ampacity.model.access import Limits
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, Owner, Project
from ampacity.model.node import NodeCondition
from ampacity.model.request_usage import UsageBy
from ampacity.model.workload import Wish, WorkloadKind, WorkloadPhase, WorkloadSpec

from .wire import MAX_WAIT_S

PAGE_LIMIT = 1000
"""The most that one page of a listing holds."""

ENDED_SHOWN = 20
"""How many ended workloads a listing shows after the live ones."""

MAX_REPLICAS = 10_000
MAX_TAIL = 100_000

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
_Page = Annotated[int, msgspec.Meta(ge=1, le=PAGE_LIMIT)]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The root of all: by key only, unknown keys refused."""


class Nothing(_Strict):
    """No parameters, or no body."""


class InProject(_Strict):
    project: Project = DEFAULT_PROJECT


# Queries -----------------------------------------------------------------------------------------------------------


class WorkloadsQuery(_Strict):
    """``project`` ``None`` = all but ``system``. ``next`` is that of the page before."""

    project: Project | None = None
    kind: tuple[WorkloadKind, ...] = ()
    phase: tuple[WorkloadPhase, ...] = ()
    all: bool = False
    limit: _Page = 100
    next: str | None = None


class WorkloadQuery(InProject):
    """``wait_s``: answer when the workload has ended, or after that many seconds."""

    wait_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_WAIT_S)] = 0.0


class LogsQuery(InProject):
    follow: bool = False
    tail: Annotated[int, msgspec.Meta(ge=0, le=MAX_TAIL)] | None = None
    rank: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    replica: _Count | None = None
    cursor: str | None = None


class SearchQuery(InProject, kw_only=True):
    """``workload`` ``None``: all of the project. ``since``: seconds since the epoch. ``limit``: so many matches."""

    pattern: _Name
    workload: str | None = None
    fixed: bool = False
    ignore_case: bool = False
    context: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    since: Annotated[float, msgspec.Meta(ge=0)] | None = None
    rank: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    replica: _Count | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class MemberQuery(InProject):
    """``replica`` and ``member`` (the node of a gang) count from 0."""

    replica: _Count = 0
    member: _Count = 0


class FilesQuery(MemberQuery):
    """``path``: relative to the working directory, or beginning with ``{member_dir}/``."""

    path: str = "."
    limit: _Page = PAGE_LIMIT
    next: str | None = None


class ContentQuery(MemberQuery, kw_only=True):
    """``version``: refuse when the file is not of that one any more."""

    path: _Name
    offset: _Size = 0
    version: str = ""


class UploadQuery(MemberQuery, kw_only=True):
    """The body is a part of a file of ``size`` bytes, from ``offset`` on. ``mode``: its permissions, as a number."""

    path: _Name
    size: _Size
    offset: _Size = 0
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o777)] = 0o644


class ExecQuery(MemberQuery, kw_only=True):
    """``command``: a JSON list of words. ``tty``: on a terminal of that size."""

    command: _Name
    tty: bool = False
    columns: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] = 80
    rows: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] = 24


class EventsQuery(InProject):
    """``limit``: how many in all; ``None`` = without end."""

    after: _Count = 0
    workload: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    follow: bool = False


class PageQuery(_Strict):
    """``next`` is that of the page before."""

    limit: _Page = PAGE_LIMIT
    next: str | None = None


class MeasurementsQuery(_Strict):
    """``points`` of the past for each history, ``step_s`` seconds apart."""

    points: Annotated[int, msgspec.Meta(ge=0, le=600)] = 0
    step_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 1.0


class ModelsQuery(PageQuery):
    """``name``: all versions of that one."""

    name: str | None = None


# Bodies ------------------------------------------------------------------------------------------------------------


class Submission(_Strict):
    """``file`` (its text, with the ``name`` and absolute ``directory`` that it came from) or ``spec``. ``array``: the
    indices of an array that it becomes, such as ``0-999``."""

    file: str | None = None
    name: str = "workload.yaml"
    directory: str | None = None
    spec: WorkloadSpec | None = None
    array: str = ""
    project: Project = DEFAULT_PROJECT
    owner: Owner = DEFAULT_OWNER


class DesiredChange(_Strict):
    """``size``: of an elastic gang, in nodes; 0 = again as its file says."""

    wish: Wish | None = None
    replicas: Annotated[int, msgspec.Meta(ge=0, le=MAX_REPLICAS)] | None = None
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_REPLICAS)] | None = None


class ConditionChange(_Strict):
    """``unknown`` is found out, never set."""

    condition: Literal["ready", "cordoned"]

    @property
    def noun(self) -> NodeCondition:
        return NodeCondition(self.condition)


class ModelAddition(_Strict):
    """``path`` is absolute, on the server's machine. ``run`` names the workload that made it."""

    name: _Name
    path: _Name
    tags: tuple[str, ...] = ()
    run: str | None = None
    step: _Count | None = None
    data: tuple[str, ...] = ()
    project: Project = DEFAULT_PROJECT


class TopologyFileBody(_Strict):
    """``file``: the text of a topology file, with the ``name`` that it came from. ``dry_run``: change nothing."""

    file: str
    name: str = "topology.yaml"
    dry_run: bool = False


class RouteFileBody(_Strict):
    """``file``: the text of a route file, with the ``name`` that it came from. ``dry_run``: change nothing."""

    file: str
    name: str = "routes.yaml"
    dry_run: bool = False


class MarksChange(_Strict):
    """Labels and taints to put on a node; ``null`` takes one off. A taint may have an empty value."""

    labels: dict[str, str | None] = {}
    taints: dict[str, str | None] = {}


class QueueFileBody(_Strict):
    """``file``: the text of a queue file, with the ``name`` that it came from. ``dry_run``: change nothing."""

    file: str
    name: str = "queues.yaml"
    dry_run: bool = False


class SecretsQuery(InProject):
    """``next`` is that of the page before."""

    limit: _Page = PAGE_LIMIT
    next: str | None = None


class SecretValue(_Strict):
    """``value`` in base64."""

    value: bytes


class KeysQuery(InProject):
    """``all``: revoked and expired keys, too. ``next`` is that of the page before."""

    all: bool = False
    limit: _Page = PAGE_LIMIT
    next: str | None = None


class KeyCreation(_Strict):
    """The key itself stays with the caller: ``digest`` is its SHA-256 in hex, ``shown`` its last characters.
    ``expires_at`` in seconds since the epoch; no ``models`` = all of them."""

    name: _Name
    digest: str
    shown: str = ""
    owner: Owner = DEFAULT_OWNER
    models: tuple[str, ...] = ()
    limits: Limits = Limits()
    priority: Annotated[int, msgspec.Meta(ge=-1000, le=1000)] = 0
    expires_at: float | None = None


class LimitsChange(_Strict):
    """All limits anew: what is left out is not limited."""

    limits: Limits


class ProjectLimitsChange(_Strict):
    """``weight``: the project's share where there is not enough for all."""

    limits: Limits
    weight: float = 1.0


class UsageQuery(_Strict):
    """``by``: what the sums are told apart by. ``since`` and ``until``: seconds since the epoch. ``project`` ``None`` =
    all."""

    by: tuple[UsageBy, ...] = ()
    since: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    until: Annotated[float, msgspec.Meta(ge=0)] | None = None
    project: Project | None = None


class RawBytes(_Strict):
    """A body that is no JSON: bytes as they are."""

    content: bytes


class Shutdown(_Strict):
    workloads: bool = False

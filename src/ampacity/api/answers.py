"""What answers carry that is no noun of its own, for both ends. Errors and streams are in :mod:`.wire`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ampacity.drivers.base import FileEntry
from ampacity.hub.version import ModelVersion
from ampacity.model.access import ApiKey, Limits
from ampacity.model.ids import KeyId, Owner, Project, WorkloadId
from ampacity.model.request_usage import RequestSum
from ampacity.model.view import NodeView, ProgressPoint, WorkloadView
from ampacity.secrets.secret import Secret


class SubmittedArray(msgspec.Struct, frozen=True, kw_only=True):
    """An array by its name, and its elements' ids in the order of their indices. An element's name is the array's, a
    dash, and its index."""

    name: str
    indices: tuple[int, ...]
    workloads: tuple[WorkloadId, ...]


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The workloads of a submission, in its order; or the array that it made."""

    workloads: tuple[WorkloadView, ...] = ()
    array: SubmittedArray | None = None


def submitted(views: Sequence[WorkloadView]) -> Submitted:
    first = views[0].workload.array
    if first is None:
        return Submitted(workloads=tuple(views))
    rows = [view.workload for view in views]
    return Submitted(
        array=SubmittedArray(
            name=first.array,
            indices=tuple(row.array.index for row in rows if row.array is not None),
            workloads=tuple(row.id for row in rows),
        )
    )


class WorkloadPage(msgspec.Struct, frozen=True, kw_only=True):
    """Workloads; ``next`` asks for those that follow, ``None`` = there are none."""

    workloads: tuple[WorkloadView, ...]
    next: str | None = None


class NodePage(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes by name; ``next`` as in :class:`WorkloadPage`."""

    nodes: tuple[NodeView, ...]
    next: str | None = None


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """Models by name; ``next`` as in :class:`WorkloadPage`."""

    models: tuple[ModelVersion, ...]
    next: str | None = None


class SecretPage(msgspec.Struct, frozen=True, kw_only=True):
    """Secrets by name, without their values; ``next`` as in :class:`WorkloadPage`."""

    secrets: tuple[Secret, ...]
    next: str | None = None


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its digest; the fields are those of :class:`ampacity.model.access.ApiKey`."""

    id: KeyId
    name: str
    shown: str
    project: Project
    owner: Owner
    models: tuple[str, ...]
    limits: Limits
    priority: int
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None


def key_view(key: ApiKey) -> KeyView:
    return KeyView(**{name: getattr(key, name) for name in KeyView.__struct_fields__})


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Keys by name; ``next`` as in :class:`WorkloadPage`."""

    keys: tuple[KeyView, ...]
    next: str | None = None


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was used. ``names``: those of the keys, by their ids. ``lost``: so many requests' usage was lost since the
    control plane began, for want of room."""

    sums: tuple[RequestSum, ...]
    names: dict[str, str]
    lost: int


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """How many secrets were sealed with a new key."""

    secrets: int


class FilePage(msgspec.Struct, frozen=True, kw_only=True):
    """What a path names, and, where it is a folder, what is in it; ``next`` as in :class:`WorkloadPage`."""

    entry: FileEntry
    entries: tuple[FileEntry, ...]
    next: str | None = None


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a file is there now; ``whole``: it has taken its place."""

    received_bytes: int
    whole: bool


class Points(msgspec.Struct, frozen=True, kw_only=True):
    """What a training job reported, in order."""

    points: tuple[ProgressPoint, ...]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It is done, or will be; there is nothing more to say."""

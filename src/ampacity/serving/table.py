"""The routing table: a versioned snapshot that the control plane writes and the gateway reads."""

from __future__ import annotations

from dataclasses import dataclass

TABLE_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRoute:
    """One engine. ``id`` is the attempt's; ``url`` is its root, without a trailing slash."""

    id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """``name`` is what clients ask for, ``upstream`` what the engine calls it."""

    name: str
    workload: str
    upstream: str
    replicas: tuple[ReplicaRoute, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTable:
    version: int
    models: tuple[ModelRoute, ...] = ()
    format: int = TABLE_FORMAT

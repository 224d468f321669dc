"""What follows the rows after each step: the gateway's routing table, and which replicas are probed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ampacity.model.access import ApiKey
from ampacity.model.attempt import Attempt, AttemptPhase
from ampacity.model.route import NO_ROUTES, ROUTES_KEY, resolved
from ampacity.model.workload import Workload, WorkloadSpec
from ampacity.serving.launch import health_path, resumed, served_name, upstream_name
from ampacity.serving.prober import Target
from ampacity.serving.table import ModelRoute, ReplicaRoute, RoutingTable, UnreadableTable, read_table, write_table

from .mirror import Mirror

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """The readiness prober, as this module needs it."""

    def watch(self, targets: Sequence[Target]) -> None: ...


class RoutingFeed:
    """Writes the routing table whenever it differs from the one that stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._standing = _standing(path)

    def __call__(self, mirror: Mirror) -> None:
        version = 1 if self._standing is None else self._standing.version
        fresh = RoutingTable(
            version=version,
            models=tuple(routes(mirror)),
            closed=bool(mirror.rows.api_keys),
            keys=keys(mirror),
            limits=tuple(row for _, row in sorted(mirror.rows.project_limits.items())),
            routes=resolved(mirror.rows.routes.get(ROUTES_KEY, NO_ROUTES).routes),
        )
        if fresh == self._standing:
            return
        if self._standing is not None:
            fresh = replace(fresh, version=version + 1)
        write_table(self._path, fresh)
        self._standing = fresh


def _standing(path: Path) -> RoutingTable | None:
    """The table that was written last; none when it cannot be read: then it is written anew."""
    try:
        return read_table(path)
    except FileNotFoundError:
        return None
    except (OSError, UnreadableTable) as error:
        log.warning("the routing table is written anew: %s", error)
        return None


class ProbeFeed:
    """Tells the prober which replicas are running."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def __call__(self, mirror: Mirror) -> None:
        self._watcher.watch(
            [
                Target(
                    key=attempt.key(0),
                    url=f"http://{attempt.members[0].endpoint}",
                    path=health_path(spec),
                    interval_s=spec.service.readiness.interval_s,
                    failures=spec.service.readiness.failures,
                    ready=attempt.ready,
                )
                for _, spec, attempt in running_replicas(mirror)
                if spec.service is not None
            ]
        )


def keys(mirror: Mirror) -> tuple[ApiKey, ...]:
    """The keys that were not revoked, by their ids. Those that expire are kept: the gateway has a clock of its own."""
    return tuple(key for _, key in sorted(mirror.rows.api_keys.items()) if key.revoked_at is None)


def routes(mirror: Mirror) -> Iterator[ModelRoute]:
    """One route for each service that has a name on the gateway, with its ready replicas; by name."""
    services: dict[str, tuple[Workload, WorkloadSpec, list[Attempt]]] = {}
    for row in mirror.live_services():
        services[row.id] = (row, mirror.rows.spec(row.id).spec, [])
    for workload, _, attempt in running_replicas(mirror):
        if attempt.ready:
            services[workload.id][2].append(attempt)
    for workload, spec, attempts in sorted(services.values(), key=lambda service: served_name(service[1])):
        if served_name(spec) and spec.service is not None:
            yield ModelRoute(
                name=served_name(spec),
                workload=workload.id,
                upstream=upstream_name(spec),
                replicas=tuple(
                    ReplicaRoute(id=attempt.id, url=f"http://{attempt.members[0].endpoint}")
                    for attempt in sorted(attempts, key=lambda attempt: attempt.replica)
                ),
                health_path=health_path(spec),
                resume=resumed(spec),
                hedge_after_s=spec.service.hedge_after_s,
                concurrency=spec.service.concurrency,
                routing=spec.service.routing or "",
                price=spec.service.price,
                overload=spec.service.overload,
            )


def running_replicas(mirror: Mirror) -> Iterator[tuple[Workload, WorkloadSpec, Attempt]]:
    """The replicas of services that run and have an endpoint."""
    for attempt in mirror.served_attempts():
        if attempt.phase is not AttemptPhase.RUNNING or not attempt.members[0].endpoint:
            continue
        workload = mirror.rows.workloads[attempt.workload]
        spec = mirror.rows.specs[f"{workload.id}@{attempt.spec_revision}"].spec
        if spec.service is not None:
            yield workload, spec, attempt

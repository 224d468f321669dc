"""The control plane at a glance: what ``up`` and ``status`` show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ampacity.model.ids import SYSTEM_PROJECT
from ampacity.model.view import NodeView, Status
from ampacity.model.workload import WorkloadKind

if TYPE_CHECKING:
    from ampacity.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """``endpoint_ready``: the gateway answers; it is started with the first model that is served."""

    status: Status
    nodes: tuple[NodeView, ...]
    endpoint_ready: bool


def glance(client: Client) -> Glance:
    return Glance(status=client.status(), nodes=client.nodes(), endpoint_ready=endpoint_ready(client))


def endpoint_ready(client: Client) -> bool:
    """Whether the platform's own service, the gateway, is ready."""
    services = client.workloads(project=SYSTEM_PROJECT, kinds=(WorkloadKind.SERVICE,))
    return any(attempt.ready for view in services for attempt in view.attempts)

"""The gateway as a workload of the platform itself: made when the first model is to be served."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ampacity.model.ids import SYSTEM_PROJECT, Owner
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import ReadinessProbe, RetryPolicy, ServiceSpec, WorkloadKind, WorkloadSpec
from ampacity.store.base import Store

from .writing import Writing

NAME = "gateway"
OWNER = Owner("ampacity")


def gateway_spec(table: Path, *, host: str, port: int, python: str = sys.executable) -> WorkloadSpec:
    """The gateway as a service: no resources of its own, a fixed port, tried again without end."""
    command = [python, "-m", "ampacity.serving.gateway", "--table", str(table), "--host", host, "--port", str(port)]
    return WorkloadSpec(
        name=NAME,
        kind=WorkloadKind.SERVICE,
        run="exec " + shlex.join(command),
        resources=ResourceRequest(cpu_milli=Range.exactly(0)),
        retry=RetryPolicy(maximum=None),
        service=ServiceSpec(port=port, readiness=ReadinessProbe(path="/health")),
    )


def ensure_gateway(store: Store, writing: Writing, spec: WorkloadSpec) -> None:
    """Submit the gateway unless one is live."""
    live = store.workloads(project=SYSTEM_PROJECT, name=NAME, limit=5)
    if all(row.phase.ended for row in live):
        writing.submit(spec, project=SYSTEM_PROJECT, owner=OWNER)

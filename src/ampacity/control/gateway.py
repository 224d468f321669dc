"""The gateway as a workload of the platform itself: there as long as something is to be served under a name."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from ampacity.model.errors import NameTaken
from ampacity.model.event import Table
from ampacity.model.ids import SYSTEM_PROJECT, Owner
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import (
    Desired,
    ReadinessProbe,
    RetryPolicy,
    ServiceSpec,
    Wish,
    Workload,
    WorkloadKind,
    WorkloadSpec,
)
from ampacity.serving.gateway.options import tls_of
from ampacity.serving.gateway.tls import Certificate
from ampacity.serving.launch import served_name
from ampacity.store.feed import FeedStore

from .lookup import live_services
from .mirror import Mirror
from .state_folder import DEFAULT_GATEWAY_PORT, Settings, StateFolder, choose_port, is_free, refuse_taken
from .writing import Writing

NAME = "gateway"
OWNER = Owner("ampacity")


def gateway_spec(
    table: Path, settings: Settings, *, host: str, port: int, python: str = sys.executable
) -> WorkloadSpec:
    """The gateway as a service: no resources of its own, a fixed port, tried again without end.

    Raises:
        UserError: the certificate cannot be used.
    """
    command = [python, "-m", "ampacity.serving.gateway", "--table", str(table), "--host", host, "--port", str(port)]
    if settings.gateway_workers > 1:
        command += ["--workers", str(settings.gateway_workers)]
    files = [Path(name) if name else None for name in (settings.gateway_cert, settings.gateway_key)]
    tls = tls_of(settings.gateway_tls, *files)
    if tls is not None:
        Certificate(tls)  # what is wrong with it is said now
        command += tls.arguments()
    return WorkloadSpec(
        name=NAME,
        kind=WorkloadKind.SERVICE,
        run="exec " + shlex.join(command),
        resources=ResourceRequest(cpu_milli=Range.exactly(0)),
        retry=RetryPolicy(maximum=None),
        service=ServiceSpec(port=port, readiness=ReadinessProbe(path="/health")),
    )


def gateway_port(folder: StateFolder, store: FeedStore, wanted: int | None) -> int:
    """Where the gateway listens: where one runs already, else the wanted port, else the one that it had, the usual one
    or a free one.

    Args:
        wanted: ``None`` = the usual one or else a free one; 0 = a free one.

    Raises:
        PortInUse: another port was asked for by number and is taken.
    """
    running = _running_port(store)
    if running is not None and wanted in (None, 0, running):
        return running
    if wanted:
        refuse_taken(wanted)
        port = wanted
    else:
        known = folder.read_gateway_port()
        port = (
            known
            if known is not None and is_free(known)
            else choose_port(DEFAULT_GATEWAY_PORT if wanted is None else 0)
        )
    folder.write_gateway_port(port)
    return port


def _running_port(store: FeedStore) -> int | None:
    for row, spec in live_services(store):
        if _is_gateway(row):
            desired = store.get(Table.DESIRED, row.id)
            if isinstance(desired, Desired) and desired.wish is Wish.RUN:
                return None if spec.service is None else spec.service.port
    return None


class GatewayKeeper:
    """Follows the rows: submits the gateway when something is served by name, and replaces one that is not as it
    should be (another port, another interpreter)."""

    def __init__(self, writing: Writing, spec: WorkloadSpec, wake: Callable[[], None]) -> None:
        self._writing, self._spec, self._wake = writing, spec, wake

    def __call__(self, mirror: Mirror) -> None:
        standing = next((row for row in mirror.live_services() if _is_gateway(row)), None)
        if standing is None:
            if _is_needed(mirror):
                self._submit()
            return
        known = mirror.rows.spec(standing.id).spec
        if known != self._spec and mirror.rows.desired[standing.id].wish is Wish.RUN:
            self._writing.set_desired(standing.id, project=SYSTEM_PROJECT, by=OWNER, wish=Wish.STOP, replicas=None)
            self._wake()

    def _submit(self) -> None:
        try:
            self._writing.submit(self._spec, project=SYSTEM_PROJECT, owner=OWNER)
        except NameTaken:
            return  # one was submitted since the rows were read: the next look sees it
        self._wake()


def _is_gateway(row: Workload) -> bool:
    return row.name == NAME and row.project == SYSTEM_PROJECT and not row.phase.ended


def _is_needed(mirror: Mirror) -> bool:
    return any(
        mirror.rows.desired[row.id].wish is Wish.RUN and served_name(mirror.rows.spec(row.id).spec)
        for row in mirror.live_services()
    )

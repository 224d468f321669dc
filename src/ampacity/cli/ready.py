"""Waiting until a service is ready, and saying meanwhile what it waits for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ampacity.cli.glance import endpoint_ready
from ampacity.cli.render.status_line import StatusLine
from ampacity.cli.render.units import about_duration
from ampacity.cli.render.workloads import live_attempts, note_text
from ampacity.model.attempt import AttemptPhase
from ampacity.model.errors import AmpacityError
from ampacity.model.view import WorkloadView

if TYPE_CHECKING:
    from ampacity.client import Client

LOOK_EVERY_S = 0.5


def wait_until_ready(client: Client, view: WorkloadView, *, timeout_s: float, quiet: bool) -> WorkloadView:
    """The view once a replica is ready, and the endpoint through which it is asked.

    Raises:
        AmpacityError: the service ended first, or no replica was ready after ``timeout_s``.
    """
    began = time.monotonic()
    line = StatusLine()
    name = view.workload.name
    try:
        while True:
            view = client.workload(view.workload.id)
            ready = any(attempt.ready for attempt in live_attempts(view))
            if ready and endpoint_ready(client):
                return view
            if view.workload.phase.ended:
                raise AmpacityError(
                    f"{name} ended before it was ready: {note_text(view) or view.workload.phase}.",
                    hint=f"`ampacity why {name}` says more.",
                )
            waited_s = time.monotonic() - began
            if waited_s >= timeout_s:
                raise AmpacityError(
                    f"{name} is not ready after {timeout_s:g} s.", hint=f"`ampacity why {name}` says more."
                )
            if not quiet:
                line.show(f"{'the endpoint is starting' if ready else _state(view)}{_for(waited_s, line)}")
            time.sleep(LOOK_EVERY_S)
    finally:
        line.clear()


def _state(view: WorkloadView) -> str:
    live, name = live_attempts(view), view.workload.name
    if not live:
        return f"{name} waits: {view.waits[0].text}" if view.waits else f"{name} waits"
    running = all(attempt.phase is AttemptPhase.RUNNING for attempt in live)
    return f"{name} is starting" if running else f"{name} is being prepared"


def _for(waited_s: float, line: StatusLine) -> str:
    """How long, where the line can be rewritten."""
    return f" ({about_duration(int(waited_s))})" if line.live else ""

"""Following a job as ``run`` and ``attach`` do: as text, or as lines of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ampacity.cli.answer import plain, print_line
from ampacity.cli.follow import Follower
from ampacity.cli.render.logs import printer_for
from ampacity.cli.session import Session
from ampacity.model.view import WorkloadView

if TYPE_CHECKING:
    from ampacity.client import Client


def follow_to_end(session: Session, client: Client, view: WorkloadView, *, tail: int | None = None) -> int:
    """The exit code. In JSON: a line ``{"workload": …}``, a line ``{"record": …}`` for each line of output, and
    ``{"end": {"phase", "exit_code"}}``."""
    if not session.json:
        return Follower(client, view, printer_for(view, split=True).write).follow(tail=tail)
    print_line({"workload": plain(view)})
    follower = Follower(client, view, lambda record: print_line({"record": plain(record)}), quiet=True)
    code = follower.follow(tail=tail)
    phase = client.workload(view.workload.id).workload.phase
    print_line({"end": {"phase": str(phase), "exit_code": code}})
    return code

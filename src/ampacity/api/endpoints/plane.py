"""The control plane itself: how it is, and its end."""

from __future__ import annotations

from typing import Final

from ampacity.model.view import Status

from ..answers import Done
from ..authorize import Action
from ..bodies import Nothing, Shutdown
from ..endpoint import Answer, Call, Endpoint, answer


def status(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.status())


def shutdown(call: Call[Nothing, Shutdown]) -> Answer:
    call.service.plane.shutdown(workloads=call.body.workloads)
    return answer(Done(), status=202)


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="status",
        summary="How the control plane is and where it listens.",
        method="GET",
        path="/status",
        action=Action.READ_STATUS,
        answer=Status,
        handler=status,
    ),
    Endpoint(
        name="shutdown",
        summary="End the control plane; with `workloads` all that runs, first.",
        method="POST",
        path="/shutdown",
        action=Action.SHUT_DOWN,
        body=Shutdown,
        answer=Done,
        status=202,
        handler=shutdown,
    ),
)

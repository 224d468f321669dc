"""The queue tree and the scheduler's settings, changed as a whole."""

from __future__ import annotations

from typing import Final

from ampacity.model.view import QueueChanges, QueueTreeView

from ..authorize import Action
from ..bodies import Nothing, QueueFileBody
from ..endpoint import Answer, Call, Endpoint, answer
from .applying import apply_file


def queues(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.queues())


def apply_queues(call: Call[Nothing, QueueFileBody]) -> Answer:
    return apply_file(call, call.service.plane.apply_queues, was="the queues were")


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listQueues",
        summary="The queues, what they hold, and the scheduler's settings.",
        method="GET",
        path="/queues",
        action=Action.READ_QUEUE,
        answer=QueueTreeView,
        handler=queues,
    ),
    Endpoint(
        name="applyQueues",
        summary="Make the queue tree and the settings what a queue file says; with `dry_run` say what would move.",
        method="PUT",
        path="/queues",
        action=Action.CHANGE_QUEUES,
        body=QueueFileBody,
        answer=QueueChanges,
        handler=apply_queues,
    ),
)

"""The handlers of queues."""

from __future__ import annotations

import logging

from .bodies import Nothing, QueueFileBody
from .endpoint import Answer, Call, answer

log = logging.getLogger(__name__)


def queues(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.queues())


def apply_queues(call: Call[Nothing, QueueFileBody]) -> Answer:
    body, by = call.body, call.principal.name
    changes = call.service.plane.apply_queues(body.file, file=body.name, by=by, dry_run=body.dry_run)
    if not body.dry_run:
        log.info("the queues were changed by %s", by)
    return answer(changes)

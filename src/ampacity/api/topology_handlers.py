"""The handlers of topology and of nodes' marks."""

from __future__ import annotations

import logging

from .bodies import MarksChange, Nothing, TopologyFileBody
from .endpoint import Answer, Call, answer

log = logging.getLogger(__name__)


def topology(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.topology())


def apply_topology(call: Call[Nothing, TopologyFileBody]) -> Answer:
    body, by = call.body, call.principal.name
    changes = call.service.plane.apply_topology(body.file, file=body.name, by=by, dry_run=body.dry_run)
    if not body.dry_run:
        log.info("the topology was changed by %s", by)
    return answer(changes)


def mark_node(call: Call[Nothing, MarksChange]) -> Answer:
    body = call.body
    return answer(
        call.service.plane.mark_node(call.ref, labels=body.labels, taints=body.taints, by=call.principal.name)
    )

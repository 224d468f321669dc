"""The handlers of routes: public names and the models behind them."""

from __future__ import annotations

import logging

from .bodies import Nothing, RouteFileBody
from .endpoint import Answer, Call, answer

log = logging.getLogger(__name__)


def routes(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.routes())


def apply_routes(call: Call[Nothing, RouteFileBody]) -> Answer:
    body, by = call.body, call.principal.name
    changes = call.service.plane.apply_routes(body.file, file=body.name, by=by, dry_run=body.dry_run)
    if not body.dry_run:
        log.info("the routes were changed by %s", by)
    return answer(changes)

"""What is changed as a whole is changed by a file."""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

from ..bodies import Nothing, QueueFileBody, RouteFileBody, TopologyFileBody
from ..endpoint import Answer, Call, answer

log = logging.getLogger(__name__)

FileBody = TypeVar("FileBody", QueueFileBody, RouteFileBody, TopologyFileBody)


class Apply(Protocol):
    """A method of the plane that makes something what the text says, and tells what it changed or would change."""

    def __call__(self, text: str, /, *, file: str, by: str, dry_run: bool) -> object: ...


def apply_file(call: Call[Nothing, FileBody], apply: Apply, *, was: str) -> Answer:
    """``was``: what it is about, as the log's line begins: ``the queues were``."""
    body, by = call.body, call.principal.name
    changes = apply(body.file, file=body.name, by=by, dry_run=body.dry_run)
    if not body.dry_run:
        log.info("%s changed by %s", was, by)
    return answer(changes)

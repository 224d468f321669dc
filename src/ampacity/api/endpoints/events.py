"""What happened, in order."""

from __future__ import annotations

from typing import Final

from ..authorize import Action
from ..bodies import EventsQuery
from ..endpoint import Endpoint
from ..streams import event_stream
from ..wire import StreamLine

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="events",
        summary="What happened, in order.",
        method="GET",
        path="/events",
        action=Action.READ_EVENTS,
        query=EventsQuery,
        answer=StreamLine,
        stream=event_stream,
    ),
)

"""The table of endpoints: the whole API, put together from its subjects."""

from __future__ import annotations

from typing import Any, Final

from . import openapi
from .authorize import Action
from .bodies import Nothing
from .endpoint import Answer, Call, Endpoint, answer
from .endpoints import (
    events,
    inside,
    keys,
    models,
    nodes,
    output,
    plane,
    queues,
    routes,
    secrets,
    topology,
    workloads,
)


def _describe(call: Call[Nothing, Nothing]) -> Answer:
    return answer(openapi.document(ENDPOINTS))


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="describe",
        summary="This description.",
        method="GET",
        path="/openapi.json",
        action=Action.READ_STATUS,
        answer=dict[str, Any],
        handler=_describe,
    ),
    *plane.ENDPOINTS,
    *workloads.ENDPOINTS,
    *output.ENDPOINTS,
    *inside.ENDPOINTS,
    *nodes.ENDPOINTS,
    *topology.ENDPOINTS,
    *routes.ENDPOINTS,
    *queues.ENDPOINTS,
    *events.ENDPOINTS,
    *models.ENDPOINTS,
    *secrets.ENDPOINTS,
    *keys.ENDPOINTS,
)
"""In the order in which the description has them."""

"""What workloads say while they run: their output, and the progress of training."""

from __future__ import annotations

from typing import Final

from ..answers import Points
from ..authorize import Action
from ..bodies import InProject, LogsQuery, Nothing, SearchQuery
from ..endpoint import Answer, Call, Endpoint, answer
from ..streams import log_stream, search_stream
from ..wire import StreamLine


def progress(call: Call[InProject, Nothing]) -> Answer:
    return answer(Points(points=call.service.plane.progress(call.ref, project=call.query.project)))


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="logs",
        summary="The output of all its attempts, in the order of time.",
        method="GET",
        path="/workloads/{ref}/logs",
        action=Action.READ_LOGS,
        query=LogsQuery,
        answer=StreamLine,
        stream=log_stream,
    ),
    Endpoint(
        name="searchLogs",
        summary="The lines that match a pattern, in one workload's output or in that of all of a project's.",
        method="GET",
        path="/logs",
        action=Action.READ_LOGS,
        query=SearchQuery,
        answer=StreamLine,
        stream=search_stream,
    ),
    Endpoint(
        name="progress",
        summary="What a training job reported.",
        method="GET",
        path="/workloads/{ref}/progress",
        action=Action.READ_WORKLOAD,
        query=InProject,
        answer=Points,
        handler=progress,
    ),
)

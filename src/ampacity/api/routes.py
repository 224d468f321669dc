"""The table of endpoints: the whole API on one page."""

from __future__ import annotations

from typing import Final

from . import handlers
from .authorize import Action
from .bodies import (
    ConditionChange,
    DesiredChange,
    EventsQuery,
    InProject,
    LogsQuery,
    ModelAddition,
    ModelsQuery,
    Nothing,
    Shutdown,
    Submission,
    WorkloadQuery,
    WorkloadsQuery,
)
from .endpoint import Endpoint
from .streams import event_stream, log_stream

_WORKLOAD = "/workloads/{ref}"

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        method="GET",
        path="/status",
        action=Action.READ_STATUS,
        query=Nothing,
        body=Nothing,
        handler=handlers.status,
    ),
    Endpoint(
        method="POST",
        path="/shutdown",
        action=Action.SHUT_DOWN,
        query=Nothing,
        body=Shutdown,
        handler=handlers.shutdown,
    ),
    Endpoint(
        method="GET",
        path="/workloads",
        action=Action.READ_WORKLOAD,
        query=WorkloadsQuery,
        body=Nothing,
        handler=handlers.workloads,
    ),
    Endpoint(
        method="POST",
        path="/workloads",
        action=Action.SUBMIT_WORKLOAD,
        query=Nothing,
        body=Submission,
        handler=handlers.submit,
    ),
    Endpoint(
        method="GET",
        path=_WORKLOAD,
        action=Action.READ_WORKLOAD,
        query=WorkloadQuery,
        body=Nothing,
        waiter=handlers.workload,
    ),
    Endpoint(
        method="POST",
        path=f"{_WORKLOAD}/desired",
        action=Action.CHANGE_WORKLOAD,
        query=InProject,
        body=DesiredChange,
        handler=handlers.set_desired,
    ),
    Endpoint(
        method="GET",
        path=f"{_WORKLOAD}/why",
        action=Action.READ_WORKLOAD,
        query=InProject,
        body=Nothing,
        handler=handlers.why,
    ),
    Endpoint(
        method="GET",
        path=f"{_WORKLOAD}/logs",
        action=Action.READ_LOGS,
        query=LogsQuery,
        body=Nothing,
        stream=log_stream,
    ),
    Endpoint(
        method="GET",
        path=f"{_WORKLOAD}/progress",
        action=Action.READ_WORKLOAD,
        query=InProject,
        body=Nothing,
        handler=handlers.progress,
    ),
    Endpoint(
        method="GET",
        path="/nodes",
        action=Action.READ_NODE,
        query=Nothing,
        body=Nothing,
        handler=handlers.nodes,
    ),
    Endpoint(
        method="POST",
        path="/nodes/{ref}/condition",
        action=Action.CHANGE_NODE,
        query=Nothing,
        body=ConditionChange,
        handler=handlers.set_condition,
    ),
    Endpoint(
        method="GET",
        path="/events",
        action=Action.READ_EVENTS,
        query=EventsQuery,
        body=Nothing,
        stream=event_stream,
    ),
    Endpoint(
        method="GET",
        path="/models",
        action=Action.READ_MODEL,
        query=ModelsQuery,
        body=Nothing,
        handler=handlers.models,
    ),
    Endpoint(
        method="POST",
        path="/models",
        action=Action.ADD_MODEL,
        query=Nothing,
        body=ModelAddition,
        handler=handlers.add_model,
    ),
    Endpoint(
        method="GET",
        path="/models/{ref:path}",
        action=Action.READ_MODEL,
        query=Nothing,
        body=Nothing,
        handler=handlers.model,
    ),
    Endpoint(
        method="DELETE",
        path="/models/{ref:path}",
        action=Action.REMOVE_MODEL,
        query=Nothing,
        body=Nothing,
        handler=handlers.remove_model,
    ),
)

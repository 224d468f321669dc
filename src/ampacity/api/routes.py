"""The table of endpoints: the whole API on one page."""

from __future__ import annotations

from typing import Any, Final

from ampacity.hub.version import ModelVersion
from ampacity.model.view import NodeView, Status, Why, WorkloadView

from . import handlers, openapi
from .answers import Done, ModelPage, NodePage, Points, Submitted, WorkloadPage
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
    PageQuery,
    Shutdown,
    Submission,
    WorkloadQuery,
    WorkloadsQuery,
)
from .endpoint import Answer, Call, Endpoint, answer
from .streams import event_stream, log_stream
from .wire import StreamLine

_WORKLOAD = "/workloads/{ref}"


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
    Endpoint(
        name="status",
        summary="How the control plane is and where it listens.",
        method="GET",
        path="/status",
        action=Action.READ_STATUS,
        answer=Status,
        handler=handlers.status,
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
        handler=handlers.shutdown,
    ),
    Endpoint(
        name="listWorkloads",
        summary="Workloads: the live ones and the latest ended; with `all` or `phase` all of them, newest first.",
        method="GET",
        path="/workloads",
        action=Action.READ_WORKLOAD,
        query=WorkloadsQuery,
        answer=WorkloadPage,
        handler=handlers.workloads,
    ),
    Endpoint(
        name="submit",
        summary="Submit a workload file, or a spec.",
        method="POST",
        path="/workloads",
        action=Action.SUBMIT_WORKLOAD,
        body=Submission,
        answer=Submitted,
        status=201,
        handler=handlers.submit,
    ),
    Endpoint(
        name="getWorkload",
        summary="One workload with all its attempts; with `wait_s` once it has ended.",
        method="GET",
        path=_WORKLOAD,
        action=Action.READ_WORKLOAD,
        query=WorkloadQuery,
        answer=WorkloadView,
        waiter=handlers.workload,
    ),
    Endpoint(
        name="setDesired",
        summary="Wish that it stops, or for another number of replicas.",
        method="POST",
        path=f"{_WORKLOAD}/desired",
        action=Action.CHANGE_WORKLOAD,
        query=InProject,
        body=DesiredChange,
        answer=WorkloadView,
        handler=handlers.set_desired,
    ),
    Endpoint(
        name="why",
        summary="Why it waits, runs or ended as it did.",
        method="GET",
        path=f"{_WORKLOAD}/why",
        action=Action.READ_WORKLOAD,
        query=InProject,
        answer=Why,
        handler=handlers.why,
    ),
    Endpoint(
        name="logs",
        summary="The output of all its attempts, in the order of time.",
        method="GET",
        path=f"{_WORKLOAD}/logs",
        action=Action.READ_LOGS,
        query=LogsQuery,
        answer=StreamLine,
        stream=log_stream,
    ),
    Endpoint(
        name="progress",
        summary="What a training job reported.",
        method="GET",
        path=f"{_WORKLOAD}/progress",
        action=Action.READ_WORKLOAD,
        query=InProject,
        answer=Points,
        handler=handlers.progress,
    ),
    Endpoint(
        name="listNodes",
        summary="The nodes, and what is given out on them.",
        method="GET",
        path="/nodes",
        action=Action.READ_NODE,
        query=PageQuery,
        answer=NodePage,
        handler=handlers.nodes,
    ),
    Endpoint(
        name="setCondition",
        summary="Cordon a node, or make it ready again.",
        method="POST",
        path="/nodes/{ref}/condition",
        action=Action.CHANGE_NODE,
        body=ConditionChange,
        answer=NodeView,
        handler=handlers.set_condition,
    ),
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
    Endpoint(
        name="listModels",
        summary="The models of the hub; with `name` all versions of that one.",
        method="GET",
        path="/models",
        action=Action.READ_MODEL,
        query=ModelsQuery,
        answer=ModelPage,
        handler=handlers.models,
    ),
    Endpoint(
        name="addModel",
        summary="Register files on the server as the next version of a model.",
        method="POST",
        path="/models",
        action=Action.ADD_MODEL,
        body=ModelAddition,
        answer=ModelVersion,
        status=201,
        handler=handlers.add_model,
    ),
    Endpoint(
        name="getModel",
        summary="One version of a model.",
        method="GET",
        path="/models/{ref:path}",
        action=Action.READ_MODEL,
        answer=ModelVersion,
        handler=handlers.model,
    ),
    Endpoint(
        name="removeModel",
        summary="Remove one version of a model.",
        method="DELETE",
        path="/models/{ref:path}",
        action=Action.REMOVE_MODEL,
        answer=ModelVersion,
        handler=handlers.remove_model,
    ),
)

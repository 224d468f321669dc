"""Nodes: what they have and use, and what people mark them with."""

from __future__ import annotations

from typing import Final

from ampacity.model.view import NodeView
from ampacity.observe.measured import Measurements

from ..answers import NodePage
from ..authorize import Action
from ..bodies import ConditionChange, MarksChange, MeasurementsQuery, Nothing, PageQuery
from ..endpoint import Answer, Call, Endpoint, answer
from ..pages import page_of, read_place


def nodes(call: Call[PageQuery, Nothing]) -> Answer:
    after = read_place(call.query.next, tuple[str])
    found, following = page_of(
        call.service.plane.nodes(), lambda view: (str(view.node.id),), limit=call.query.limit, after=after
    )
    return answer(NodePage(nodes=found, next=following))


def measurements(call: Call[MeasurementsQuery, Nothing]) -> Answer:
    query = call.query
    return answer(call.service.plane.measurements(history_points=query.points, step_s=query.step_s))


def set_condition(call: Call[Nothing, ConditionChange]) -> Answer:
    return answer(call.service.plane.set_condition(call.ref, call.body.noun, by=call.principal.name))


def mark_node(call: Call[Nothing, MarksChange]) -> Answer:
    body = call.body
    return answer(
        call.service.plane.mark_node(call.ref, labels=body.labels, taints=body.taints, by=call.principal.name)
    )


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listNodes",
        summary="The nodes, and what is given out on them.",
        method="GET",
        path="/nodes",
        action=Action.READ_NODE,
        query=PageQuery,
        answer=NodePage,
        handler=nodes,
    ),
    Endpoint(
        name="measurements",
        summary="What the nodes, devices, attempts and ranks use now; with `points` their recent past.",
        method="GET",
        path="/measurements",
        action=Action.READ_METRICS,
        query=MeasurementsQuery,
        answer=Measurements,
        handler=measurements,
    ),
    Endpoint(
        name="setCondition",
        summary="Cordon a node, or make it ready again.",
        method="POST",
        path="/nodes/{ref}/condition",
        action=Action.CHANGE_NODE,
        body=ConditionChange,
        answer=NodeView,
        handler=set_condition,
    ),
    Endpoint(
        name="markNode",
        summary="Give a node labels and taints, or take them off.",
        method="POST",
        path="/nodes/{ref}/marks",
        action=Action.CHANGE_NODE,
        body=MarksChange,
        answer=NodeView,
        handler=mark_node,
    ),
)

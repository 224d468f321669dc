"""Trees of places, power feeds and licences, changed as a whole."""

from __future__ import annotations

from typing import Final

from ampacity.model.site import Site
from ampacity.model.view import TopologyChanges

from ..authorize import Action
from ..bodies import Nothing, TopologyFileBody
from ..endpoint import Answer, Call, Endpoint, answer
from .applying import apply_file


def topology(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.topology())


def apply_topology(call: Call[Nothing, TopologyFileBody]) -> Answer:
    return apply_file(call, call.service.plane.apply_topology, was="the topology was")


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="getTopology",
        summary="Trees of places with the nodes in them, power feeds and licences.",
        method="GET",
        path="/topology",
        action=Action.READ_NODE,
        answer=Site,
        handler=topology,
    ),
    Endpoint(
        name="applyTopology",
        summary="Make them what a topology file says; with `dry_run` say what would change.",
        method="PUT",
        path="/topology",
        action=Action.CHANGE_NODE,
        body=TopologyFileBody,
        answer=TopologyChanges,
        handler=apply_topology,
    ),
)

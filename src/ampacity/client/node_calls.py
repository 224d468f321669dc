"""The client's calls about nodes."""

from __future__ import annotations

from collections.abc import Mapping

from ampacity.api.answers import NodePage
from ampacity.model.node import NodeCondition
from ampacity.model.view import NodeView
from ampacity.observe.measured import Measurements

from .calls import Calls, path_of


class NodeCalls(Calls):
    """Nodes: what they are, what is given out on them, what they do now, and what people mark them with."""

    def nodes(self) -> tuple[NodeView, ...]:
        """All nodes by name, and what is given out on them."""
        found = self._link.call("GET", "/nodes", NodePage)
        views = list(found.nodes)
        while found.next is not None:
            found = self._link.call("GET", "/nodes", NodePage, query={"next": found.next})
            views.extend(found.nodes)
        return tuple(views)

    def measurements(self, *, points: int = 0, step_s: float = 1.0) -> Measurements:
        """What the nodes, devices, attempts and ranks use now; with ``points`` of their past, ``step_s`` apart."""
        return self._link.call("GET", "/measurements", Measurements, query={"points": points, "step_s": step_s})

    def set_condition(self, node: str, condition: NodeCondition) -> NodeView:
        """Cordon a node (nothing new is placed there) or make it ready again."""
        path = path_of("nodes", node, "condition")
        return self._link.call("POST", path, NodeView, body={"condition": condition})

    def mark_node(
        self, node: str, *, labels: Mapping[str, str | None] = {}, taints: Mapping[str, str | None] = {}
    ) -> NodeView:
        """Give a node labels and taints (a taint's value may be empty), or with ``None`` take them off."""
        body = {"labels": dict(labels), "taints": dict(taints)}
        return self._link.call("POST", path_of("nodes", node, "marks"), NodeView, body=body)

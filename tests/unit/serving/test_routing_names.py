"""The names by which services choose their routing are the routers that there are."""

from __future__ import annotations

from ampacity.model.service_terms import Routing
from ampacity.serving.dispatch import Dispatcher
from ampacity.serving.gateway.lanes import lanes_of
from ampacity.serving.routing import ROUTERS
from ampacity.serving.routing.blocks import session_of
from ampacity.serving.table import ModelRoute, RoutingTable


def test_each_name_is_a_router_and_each_router_has_a_name() -> None:
    assert set(Routing) == set(ROUTERS)


def test_a_model_that_names_its_routing_gets_it_and_the_others_the_usual_one() -> None:
    routes = tuple(
        ModelRoute(name=name, workload=name, upstream=name, replicas=(), routing=routing)
        for name, routing in (("a", "prefix"), ("b", ""))
    )
    lanes = lanes_of(RoutingTable(version=1, models=routes), lambda route: (), "round_robin")
    assert [lane.routing for lane in lanes] == ["prefix", "round_robin"]
    Dispatcher().set_lanes(lanes, 0.0)


def test_sessions_are_told_apart_by_name() -> None:
    assert session_of(b"") == 0
    assert session_of(b"a") == session_of(b"a") != session_of(b"b")

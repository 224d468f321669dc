"""Routes: public names and the models behind them, changed as a whole."""

from __future__ import annotations

from typing import Final

from ampacity.model.view import RouteChanges, RoutesView

from ..authorize import Action
from ..bodies import Nothing, RouteFileBody
from ..endpoint import Answer, Call, Endpoint, answer
from .applying import apply_file


def routes(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.routes())


def apply_routes(call: Call[Nothing, RouteFileBody]) -> Answer:
    return apply_file(call, call.service.plane.apply_routes, was="the routes were")


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listRoutes",
        summary="Public names, the models behind them, and how many replicas of each are ready.",
        method="GET",
        path="/routes",
        action=Action.READ_ROUTES,
        answer=RoutesView,
        handler=routes,
    ),
    Endpoint(
        name="applyRoutes",
        summary="Make the routes what a route file says; with `dry_run` say what would change.",
        method="PUT",
        path="/routes",
        action=Action.CHANGE_ROUTES,
        body=RouteFileBody,
        answer=RouteChanges,
        handler=apply_routes,
    ),
)

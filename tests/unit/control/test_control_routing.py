"""Routes over a control loop: written as a whole, put into the gateway's table, and seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_control_plane import Seat

from ampacity.control.followers import RoutingFeed
from ampacity.model.errors import InvalidSpec
from ampacity.model.event import EventKind
from ampacity.model.route import Route
from ampacity.model.view import RouteChanges
from ampacity.serving.table import read_table

TEXT = "routes:\n  chat: {to: {writer: 95, next: 5}, fallback: [{on: error, to: spare}]}\n  gpt: chat\n"


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(tmp_path)


def test_a_file_is_applied_as_a_whole_and_reaches_the_table(seat: Seat, tmp_path: Path) -> None:
    dry = seat.plane.apply_routes(TEXT, file="r.yaml", by="anna", dry_run=True)
    assert dry.changes == (
        "chat comes: writer 95%, next 5%, sticky by session, else spare (error)",
        "gpt comes: another name for chat",
    )
    assert dry.unserved == ("next", "spare", "writer")
    assert seat.plane.routes().routes == ()
    assert seat.plane.apply_routes(TEXT, file="r.yaml", by="anna", dry_run=False) == replace(dry, dry_run=False)
    assert [route.name for route in seat.plane.routes().routes] == ["chat", "gpt"]
    seat.bench.step()
    RoutingFeed(tmp_path / "table.json")(seat.bench.control.mirror)
    chat, gpt = read_table(tmp_path / "table.json").routes
    assert (gpt.name, gpt.alias, gpt.to) == ("gpt", "", chat.to)
    again = seat.plane.apply_routes(TEXT, file="r.yaml", by="anna", dry_run=False)
    assert again == RouteChanges(dry_run=False, unserved=dry.unserved)
    written = [event for event in seat.bench.store.events() if event.kind is EventKind.ROUTES_CHANGED]
    assert [event.draft.actor for event in written] == ["anna"]


def test_routes_change_and_go(seat: Seat) -> None:
    seat.plane.apply_routes(TEXT, file="r.yaml", by="anna", dry_run=False)
    text = "routes: {chat: {to: writer, sticky: none}}\n"
    found = seat.plane.apply_routes(text, file="r.yaml", by="anna", dry_run=False)
    assert found.changes == (
        "chat: writer 95%, next 5%, sticky by session, else spare (error) -> writer 100%",
        "gpt goes",
    )
    assert seat.plane.apply_routes("routes: {}", file="r.yaml", by="anna", dry_run=False).changes == ("chat goes",)
    assert seat.plane.routes().routes == ()


def test_what_is_wrong_changes_nothing(seat: Seat) -> None:
    seat.plane.apply_routes("routes: {a: b}", file="r.yaml", by="anna", dry_run=False)
    with pytest.raises(InvalidSpec, match="leads in a circle"):
        seat.plane.apply_routes("routes: {a: a}", file="r.yaml", by="anna", dry_run=False)
    with pytest.raises(InvalidSpec, match="nothing about routes"):
        seat.plane.apply_routes("queues: {}\n", file="r.yaml", by="anna", dry_run=False)
    assert seat.plane.routes().routes == (Route(name="a", alias="b", to=()),)

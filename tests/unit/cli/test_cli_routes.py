"""``ampacity routes``, and ``apply`` of a file about routes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli_client_double import ClientDouble
from click.testing import Result

from ampacity.model.route import Fallback, Route, Shadow, Share, Trouble
from ampacity.model.view import RoutesView

Amp = Callable[..., Result]

CHAT = Route(
    name="chat",
    to=(Share(model="writer", weight=3), Share(model="next", weight=1)),
    shadow=Shadow(model="draft", percent=5),
    fallback=(Fallback(on=Trouble.QUEUE, to="small", after_s=5.0), Fallback(on=Trouble.ERROR, to="small")),
)


def test_routes_are_listed(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble) -> None:
    assert "There are no routes" in amp("routes").stderr
    client.route_view = RoutesView(routes=(CHAT, Route(name="gpt", alias="chat")), ready={"writer": 2})
    lines = [" ".join(line.split()) for line in amp("routes").stdout.splitlines()]
    assert lines == [
        "ROUTE TO STICKY SHADOW ELSE",
        "chat writer 75%, next 25% session draft 5% small (queue 5s), small (error)",
        "gpt = chat",
    ]
    assert amp_json("routes")["ready"] == {"writer": 2}


def test_a_route_file_is_applied(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("routes: {chat: {to: writer}}\n---\nname: hello\nrun: echo\n")
    lines = amp("apply", str(file)).stdout.splitlines()
    assert lines == [
        "routes changed: chat comes: writer 100%",
        "routes: nobody serves writer now",
        "hello: task created",
    ]
    assert ("apply_routes", file.read_text(), str(file), False) in client.calls
    assert amp("apply", "--dry-run", str(file)).stdout.startswith("routes would change: chat comes")
    assert amp_json("apply", "--dry-run", str(file))["routes"][0]["unserved"] == ["writer"]


def test_a_wrong_route_file_changes_nothing(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("routes:\n  chat: chat\n")
    refused = amp("apply", str(file))
    assert refused.exit_code == 2
    assert f"{file}:2" in refused.stderr
    assert not client.calls

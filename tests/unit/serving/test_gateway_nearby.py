"""Connections within the machine are not paced, all others stay as the machine has them."""

from __future__ import annotations

import socket
import sys

import pytest

from ampacity.serving.gateway.nearby import is_nearby, let_run


@pytest.mark.parametrize(
    ("host", "near"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("n1", False)],
)
def test_only_loopback_is_near(host: str, near: bool) -> None:
    assert is_nearby(host) is near


@pytest.mark.skipif(sys.platform != "linux", reason="congestion controls are chosen by name on Linux alone")
def test_what_a_near_listener_accepts_is_not_paced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        usual = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        let_run(server, "10.0.0.1")
        assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) == usual
        let_run(server, "127.0.0.1")
        with socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
            with accepted:
                control = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert control.rstrip(b"\0") == b"reno"

"""How much memory idle connections take, and whether requests leave any behind."""

from __future__ import annotations

import socket
import time

from load import closed_loop
from targets import Target

IDLE = 9_000
"""Connections; fewer than the usual limit on open files of a shell, and told per 10,000."""


def idle_mb_per_10k(target: Target) -> float:
    """Connections that have been used once and stay open."""
    before = target.rss_mb()
    request = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    connections: list[socket.socket] = []
    try:
        for _ in range(IDLE):
            connection = socket.create_connection(("127.0.0.1", target.port))
            connection.sendall(request)
            connections.append(connection)
        for connection in connections:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 "), "an idle connection was refused"
        time.sleep(0.5)
        return (target.rss_mb() - before) * 10_000 / IDLE
    finally:
        for connection in connections:
            connection.close()


def rss_growth(target: Target, requests: int, *, seed: int, cpus: set[int], key: str) -> float:
    """Megabytes per million requests, once a tenth of them has warmed it up."""
    done = 0
    start: tuple[int, float] | None = None
    while done < requests * 1.1:
        run = closed_loop(
            target, size=200, kind="whole", connections=64, seconds=2, seed=seed + done, cpus=cpus, key=key
        )
        done += run.requests
        if start is None and done >= requests * 0.1:
            start = (done, target.rss_mb())
    assert start is not None, "the first tenth came first"
    return (target.rss_mb() - start[1]) * 1e6 / max(1, done - start[0])

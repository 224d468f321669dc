"""How much memory idle connections take, and whether requests leave any behind."""

from __future__ import annotations

import socket
import time

from load import closed_loop
from targets import Target

from ampacity.serving.metering.spool import Spool

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


def rss_growth(target: Target, requests: int, *, spool: Spool, seed: int, cpus: set[int], key: str) -> list[float]:
    """The memory in megabytes, once a tenth of so many requests has warmed it up, and after each further tenth. The
    records of usage are taken from the spool, as the control plane does: a full one is another matter."""
    done, marks = 0, []
    while len(marks) < 11:
        run = closed_loop(
            target, size=200, kind="whole", connections=64, seconds=2, seed=seed + done, cpus=cpus, key=key
        )
        done += run.requests
        for lot in spool.lots():
            spool.forget(lot)
        while len(marks) < 11 and done >= requests * 0.1 * (len(marks) + 1):
            marks.append(target.rss_mb())
    return marks

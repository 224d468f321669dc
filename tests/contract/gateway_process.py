"""The gateway's process under test: its table, its log, and raw sockets to it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ampacity.model.access import ApiKey, ProjectLimits
from ampacity.model.route import Route
from ampacity.serving.table import ModelRoute, ReplicaRoute, RoutingTable, write_table
from engine_double import EngineDouble

LOOKS_AT_WORKERS = 24
"""The kernel gives a new connection to any worker: so many reach both of two, but for one time in millions."""


class Gateway:
    """The process, its table, and a raw socket to it."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.table = folder / "table.json"
        self.log = folder / "gateway.log"
        self.version = 0
        self._looks = LOOKS_AT_WORKERS if "--workers" in more else 1
        self.route({})
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "ampacity.serving.gateway",
            "--table",
            str(self.table),
            "--port",
            str(self.port),
            *more,
        ]
        self.process = subprocess.Popen(command, stderr=self.log.open("wb"))
        eventually(lambda: self.try_health() == 200)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def try_health(self) -> int:
        try:
            return httpx.get(self.url + "/health").status_code
        except httpx.HTTPError:
            return 0

    def route(
        self,
        models: dict[str, list[EngineDouble]],
        upstream: str = "",
        keys: tuple[ApiKey, ...] | None = None,
        limits: tuple[ProjectLimits, ...] = (),
        routes: tuple[Route, ...] = (),
        **terms: Any,
    ) -> None:
        """Write a table and wait until it is in force. ``keys``: close the endpoint for all but these. ``terms``: those
        of every route."""
        self.version += 1
        served = tuple(
            ModelRoute(
                name=name,
                workload=f"w{name}",
                upstream=upstream or name,
                replicas=tuple(ReplicaRoute(id=f"{engine.name}-{engine.port}", url=engine.url) for engine in engines),
                **terms,
            )
            for name, engines in models.items()
        )
        table = RoutingTable(
            version=self.version,
            models=served,
            closed=keys is not None,
            keys=keys or (),
            limits=limits,
            routes=routes,
        )
        write_table(self.table, table)
        if self.version > 1:
            eventually(lambda: all(self._shown_version() == self.version for _ in range(self._looks)))

    def _shown_version(self) -> int:
        """Of the worker that happens to take this connection."""
        return int(httpx.get(self.url + "/health").json()["table"])

    def models(self) -> list[str]:
        answer = httpx.get(self.url + "/v1/models")
        return [each["id"] for each in answer.json()["data"]] if answer.status_code == 200 else []

    def ask(
        self, model: str = "tiny", key: str = "", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        sent = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        body = {"model": model, "prompt": "x", **more}
        return httpx.post(self.url + "/v1/completions", json=body, headers=sent, timeout=30)

    def raw(self, data: bytes) -> bytes:
        """Send bytes, read until the gateway closes or is silent for a second."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.settimeout(1.0)
            connection.sendall(data)
            received = b""
            try:
                while chunk := connection.recv(65536):
                    received += chunk
            except TimeoutError:
                pass
            return received

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(120)


@contextmanager
def running_gateway(folder: Path) -> Iterator[Gateway]:
    """One that has to live through the tests, to end in order, and to leave no traceback in its log."""
    found = Gateway(folder)
    yield found
    assert found.process.poll() is None, "the gateway died in a test"
    assert found.end() == 0
    assert "Traceback" not in found.log.read_text()


def eventually(true: Any, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "did not come"
        time.sleep(0.02)


def post(body: bytes, *headers: bytes, path: bytes = b"/v1/completions") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"host: x", b"content-type: application/json", *headers]
    if not any(line.startswith((b"content-length", b"transfer-encoding")) for line in headers):
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


ASK = b'{"model": "tiny", "prompt": "x"}'

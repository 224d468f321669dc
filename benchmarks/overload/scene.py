"""What is measured: the gateway's own process before engines of known capacity."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ampacity.model.access import ApiKey, digest_of, key_id
from ampacity.model.ids import Project
from ampacity.serving.table import ModelRoute, ReplicaRoute, RoutingTable, write_table

HERE = Path(__file__).parent
START_LIMIT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Engines:
    """``count`` of them, each so many at once, each answer after ``service_s``."""

    count: int = 2
    concurrency: int = 4
    service_s: float = 0.1

    @property
    def per_s(self) -> float:
        """What all of them together can answer."""
        return self.count * self.concurrency / self.service_s


@contextlib.contextmanager
def running_engines(engines: Engines) -> Iterator[list[str]]:
    """Their addresses."""
    with contextlib.ExitStack() as stack:
        urls = []
        for _ in range(engines.count):
            port = free_port()
            arguments = [str(port), str(engines.concurrency), str(engines.service_s)]
            stack.enter_context(running([sys.executable, str(HERE / "engine.py"), *arguments]))
            urls.append(f"http://127.0.0.1:{port}")
        for url in urls:
            _await(f"{url}/health")
        yield urls


@contextlib.contextmanager
def running_gateway(folder: Path, urls: list[str], *, concurrency: int, projects: tuple[str, ...]) -> Iterator[str]:
    """Its endpoint. ``concurrency`` 0: it does not know what an engine takes at once, and holds nobody in line. Each
    project has a key of its name."""
    digests = {name: digest_of(name) for name in projects}
    table = RoutingTable(
        version=1,
        models=(
            ModelRoute(
                name="mock",
                workload="w1",
                upstream="mock",
                replicas=tuple(ReplicaRoute(id=f"w1.{n}.1", url=url) for n, url in enumerate(urls)),
                concurrency=concurrency,
            ),
        ),
        closed=True,
        keys=tuple(
            ApiKey(id=key_id(digest), name=name, digest=digest, project=Project(name))
            for name, digest in digests.items()
        ),
    )
    write_table(folder / "table.json", table)
    port = free_port()
    command = [sys.executable, "-m", "ampacity.serving.gateway", "--table", str(folder / "table.json")]
    with running([*command, "--port", str(port)]):
        _await(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(url: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                json.load(answer)
            return
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from plane_double import PlaneDouble, serving, write_control_json

from ampacity.api.server import RunningServer
from ampacity.client import Client


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    made = tempfile.mkdtemp(prefix="amp-")
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture
def plane() -> PlaneDouble:
    return PlaneDouble()


@pytest.fixture
def server(plane: PlaneDouble, folder: Path) -> Iterator[RunningServer]:
    with serving(plane, folder) as running:
        yield running


@pytest.fixture
def unix(server: RunningServer) -> Iterator[httpx.Client]:
    """Plain HTTP over the Unix socket."""
    transport = httpx.HTTPTransport(uds=server.socket_path)
    with httpx.Client(transport=transport, base_url="http://localhost/api/v1", trust_env=False) as http:
        yield http


@pytest.fixture
def tcp(server: RunningServer) -> Iterator[httpx.Client]:
    """Plain HTTP over TCP, without a token."""
    with httpx.Client(base_url=f"{server.url}/api/v1", trust_env=False) as http:
        yield http


@pytest.fixture
def state(server: RunningServer, folder: Path) -> Path:
    """A state folder that points at the server."""
    write_control_json(folder, socket=server.socket_path, api_url=server.url)
    return folder


@pytest.fixture
def client(state: Path) -> Iterator[Client]:
    with Client(state) as made:
        yield made

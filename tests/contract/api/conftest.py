from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from plane_double import PlaneDouble
from plane_server import serving, write_control_json

from ampacity.api.server import RunningServer
from ampacity.client import Client


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    made = tempfile.mkdtemp(prefix="amp-")
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def shared_plane() -> PlaneDouble:
    return PlaneDouble()


@pytest.fixture
def plane(shared_plane: PlaneDouble) -> PlaneDouble:
    """The module's plane, as new."""
    shared_plane.reset()
    return shared_plane


@pytest.fixture(scope="module")
def server(shared_plane: PlaneDouble) -> Iterator[RunningServer]:
    """One for all tests of a module; those that stop it or count its streams ask for ``own_server``."""
    with serving(shared_plane) as running:
        yield running


@pytest.fixture
def unix(server: RunningServer) -> Iterator[httpx.Client]:
    """Plain HTTP over the Unix socket."""
    with over_unix(server) as http:
        yield http


@pytest.fixture
def own_server(plane: PlaneDouble) -> Iterator[RunningServer]:
    with serving(plane) as running:
        yield running


@pytest.fixture
def own_unix(own_server: RunningServer) -> Iterator[httpx.Client]:
    with over_unix(own_server) as http:
        yield http


@pytest.fixture
def tcp(server: RunningServer) -> Iterator[httpx.Client]:
    """Plain HTTP over TCP, without a token."""
    with httpx.Client(base_url=f"{server.url}/api/v1", trust_env=False, verify=False) as http:
        yield http


@pytest.fixture
def state(server: RunningServer, tmp_path: Path) -> Path:
    """A state folder that points at the server."""
    folder = tmp_path / "state"
    folder.mkdir()
    write_control_json(folder, socket=server.socket_path, api_url=server.url)
    return folder


@pytest.fixture
def client(state: Path) -> Iterator[Client]:
    with Client(state) as made:
        yield made


def over_unix(server: RunningServer) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=server.socket_path, verify=False)
    return httpx.Client(transport=transport, base_url="http://localhost/api/v1", trust_env=False)

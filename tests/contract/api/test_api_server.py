"""The server's sockets: who may reach them, what is replaced and what is refused."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from plane_double import PlaneDouble
from plane_server import serving

from ampacity.api.listen import listen_tcp, listen_unix
from ampacity.api.server import RunningServer, serve
from ampacity.model.errors import InvalidSpec, PortInUse, StateFolderBusy, UserError


def test_the_socket_is_for_its_user_alone_and_goes_with_the_server(plane: PlaneDouble, folder: Path) -> None:
    with serving(plane, folder) as server:
        path = Path(server.socket_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert server.port > 0
        assert server.running
    assert list(folder.iterdir()) == []
    assert not server.running
    assert server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_a_stale_socket_is_replaced(plane: PlaneDouble, folder: Path) -> None:
    path = folder / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(plane, folder) as server:
        transport = httpx.HTTPTransport(uds=server.socket_path)
        with httpx.Client(transport=transport, base_url="http://localhost/api/v1") as http:
            assert http.get("/status").status_code == 200


def test_a_live_socket_is_refused_and_unharmed(unix: httpx.Client, server: RunningServer, plane: PlaneDouble) -> None:
    with pytest.raises(StateFolderBusy, match="answers at"):
        serve(plane, socket_path=server.socket_path, host="127.0.0.1", port=0, token_sha256="")
    assert unix.get("/status").status_code == 200


def test_a_file_in_the_way_is_left_alone(folder: Path) -> None:
    path = folder / "api.sock"
    path.write_text("precious")
    with pytest.raises(UserError, match="in the way"):
        listen_unix(str(path))
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="107 bytes") as refused:
        listen_unix(str(folder / ("x" * 120)))
    assert "shorter" in refused.value.hint


def test_a_folder_that_is_not_there_is_said(folder: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        listen_unix(str(folder / "none" / "api.sock"))


def test_a_port_that_is_taken_is_said_and_nothing_stays_behind(server: RunningServer, plane: PlaneDouble) -> None:
    other = f"{server.socket_path}2"
    with pytest.raises(PortInUse, match=str(server.port)):
        serve(plane, socket_path=other, host="127.0.0.1", port=server.port, token_sha256="")
    assert not os.path.exists(other)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.org", "::", ""])
def test_it_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(InvalidSpec, match="loopback"):
        listen_tcp(host, 0)


def test_localhost_is_loopback() -> None:
    with listen_tcp("localhost", 0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"


def test_it_comes_back_on_the_same_sockets(plane: PlaneDouble, folder: Path) -> None:
    with serving(plane, folder) as first:
        port = first.port
    with serving(plane, folder, port=port) as second:
        assert second.port == port
        assert httpx.get(f"{second.url}/api/v1/status", trust_env=False).status_code == 401


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_who_gets_at_the_socket_is_known_by_the_kernel_and_refused(
    own_server: RunningServer,
) -> None:
    Path(own_server.socket_path).parent.chmod(0o755)
    os.chmod(own_server.socket_path, 0o666)
    request = "GET /api/v1/status HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"
    code = (
        "import os, socket; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        f"s.connect({own_server.socket_path!r}); s.sendall(b'{request}'); print(s.makefile().read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("HTTP/1.1 403 ")
    assert json.loads(done.stdout.split("\n\n")[1])["error"]["code"] == "forbidden"

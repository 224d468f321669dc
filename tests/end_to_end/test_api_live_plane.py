"""The server and the client with the real control plane beneath: a job's whole life, and a restart in the middle."""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ampacity import Client
from ampacity.api.server import RunningServer, serve
from ampacity.control.daemon import Daemon
from ampacity.control.state_folder import Settings, StateFolder
from ampacity.model.errors import Conflict, NotFound
from ampacity.model.node import NodeCondition
from ampacity.model.view import LogRecord, StoryKind
from ampacity.model.workload import WorkloadPhase

SETTINGS = Settings(nodes=("laptop:cpus=4,memory=16GB",), gateway_port=0)


@contextmanager
def control_plane(path: Path) -> Iterator[RunningServer]:
    """What ``ampacity up`` puts together, in this process."""
    folder = StateFolder(path)
    daemon = Daemon(folder, SETTINGS)
    daemon.start()
    server = serve(
        daemon.plane, socket_path=folder.socket_path(), host="127.0.0.1", port=0, token_sha256=folder.token_sha256()
    )
    daemon.plane.listens(socket=server.socket_path, api_url=server.url)
    folder.write_endpoint(pid=os.getpid(), socket=server.socket_path, api_url=server.url)
    try:
        yield server
    finally:
        folder.remove_endpoint()
        assert server.stop()
        daemon.stop()


@pytest.fixture
def state() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="amp-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_a_jobs_life_through_the_client(state: Path) -> None:
    with control_plane(state) as server, Client(state) as client:
        (view,) = client.submit("name: hello\ntype: task\nrun: for i in 1 2 3; do echo line $i; done\n")
        ident = view.workload.id
        assert [r.text for r in client.logs("hello", follow=True) if r.stream == "out"] == [
            "line 1",
            "line 2",
            "line 3",
        ]
        assert client.wait("hello", 30).workload.phase is WorkloadPhase.SUCCEEDED
        assert [r.text for r in client.logs(ident, tail=2)][-1:] == ["line 3"]
        assert client.why(ident).kind is StoryKind.ENDED
        kinds = [str(event.kind) for event in client.events(workload=ident)]
        assert (kinds[0], kinds[-1]) == ("workload.submitted", "workload.ended")
        assert [each.workload.id for each in client.workloads()] == [ident]
        with pytest.raises(Conflict):
            client.stop(ident)
        with pytest.raises(NotFound):
            client.workload("nobody")
        assert client.set_condition("laptop", NodeCondition.CORDONED).node.condition is NodeCondition.CORDONED
        assert client.status().socket == server.socket_path
        token = (state / "token").read_text().strip()
        with Client(url=server.url, token=token) as over_tcp:
            assert over_tcp.workload(ident).workload == client.workload(ident).workload


def test_a_follower_sees_every_line_once_over_a_restart_of_the_control_plane(state: Path) -> None:
    seen: queue.Queue[LogRecord | Exception | None] = queue.Queue()
    go_on = state / "go-on"
    job = f"for i in 1 2 3; do echo line $i; done; while ! test -e {go_on}; do sleep 0.05; done; echo line 4"

    def follow(client: Client) -> None:
        try:
            for record in client.logs("talker", follow=True):
                if record.stream == "out":
                    seen.put(record)
            seen.put(None)
        except Exception as error:  # noqa: BLE001 - for the test to look at
            seen.put(error)

    def line() -> str | None:
        got = seen.get(timeout=60)
        if isinstance(got, Exception):
            raise got
        return None if got is None else got.text

    with Client(state, reconnect_s=60) as client:
        with control_plane(state):
            client.submit(f"name: talker\ntype: task\nrun: {job!r}\n")
            reader = threading.Thread(target=follow, args=(client,), daemon=True)
            reader.start()
            assert [line(), line(), line()] == ["line 1", "line 2", "line 3"]
        with control_plane(state):
            go_on.touch()
            assert line() == "line 4"
            assert line() is None
            assert client.wait("talker", 30).workload.phase is WorkloadPhase.SUCCEEDED

"""The server and the client with the real control plane beneath: a job's whole life, and a restart in the middle."""

from __future__ import annotations

import os
import queue
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
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


def message_from(sock: socket.socket) -> bytes:
    """One request or answer with its whole body."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        said = re.search(rb"content-length: (\d+)", head.lower())
        if end and len(body) >= (int(said[1]) if said else 0):
            return data
        part = sock.recv(65536)
        if not part:
            return data
        data += part


class AnswerLoser:
    """Passes whole requests on to a server, and loses the answers to the first few on their way back."""

    def __init__(self, target: str, path: str, *, lose: int) -> None:
        self.requests: list[bytes] = []
        self._target, self._lose = target, lose
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with near, socket.socket(socket.AF_UNIX) as far:
                far.connect(self._target)
                request = message_from(near)
                far.sendall(request)
                answer = message_from(far)  # it was carried out
                self.requests.append(request)
                if len(self.requests) > self._lose:
                    near.sendall(answer)

    def close(self) -> None:
        self._listener.close()


@pytest.mark.parametrize(
    ("text", "count"),
    [("name: one\nrun: sleep 0\n", 1), ("name: a\nrun: sleep 0\n---\nname: b\nafter: [a]\nrun: sleep 0\n", 2)],
)
def test_a_submit_whose_answer_was_lost_is_one_workload(state: Path, text: str, count: int) -> None:
    with control_plane(state) as server:
        loser = AnswerLoser(server.socket_path, str(state / "lossy.sock"), lose=2)
        StateFolder(state).write_endpoint(pid=os.getpid(), socket=str(state / "lossy.sock"), api_url="")
        with Client(state) as lossy:
            views = lossy.submit(text)
        loser.close()
        keys = {
            line for request in loser.requests for line in request.split(b"\r\n") if line.startswith(b"Idempotency")
        }
        assert (len(loser.requests), len(keys)) == (3, 1)
        StateFolder(state).write_endpoint(pid=os.getpid(), socket=server.socket_path, api_url=server.url)
        with Client(state) as client:
            assert {view.workload.id for view in client.workloads(all=True)} == {view.workload.id for view in views}
            assert len(views) == count
            submitted = [event for event in client.events() if event.kind == "workload.submitted"]
            assert len([event for event in submitted if event.project == "default"]) == count


def test_a_repeat_after_a_restart_gets_the_first_answer(state: Path) -> None:
    body = {"file": "name: one\nrun: sleep 600\n", "directory": "/"}
    stop = {"wish": "stop"}
    answers = []
    for _ in range(2):
        with control_plane(state) as server:
            transport = httpx.HTTPTransport(uds=server.socket_path)
            with httpx.Client(transport=transport, base_url="http://localhost/api/v1", trust_env=False) as http:
                submitted = http.post("/workloads", json=body, headers={"Idempotency-Key": "k1"})
                with Client(state) as client:
                    if not answers:
                        assert http.post(
                            "/workloads/one/desired", json=stop, headers={"Idempotency-Key": "k2"}
                        ).is_success
                    client.wait("one", 30)
                    again = http.post("/workloads/one/desired", json=stop, headers={"Idempotency-Key": "k2"})
                    assert again.headers["Idempotency-Replayed"] == "true"
                    assert http.post("/workloads/one/desired", json=stop).status_code == 409
                    assert len(list(client.workloads(all=True))) == 1
                answers.append((submitted.status_code, submitted.content, again.content))
                other = http.post("/workloads", json={**body, "owner": "else"}, headers={"Idempotency-Key": "k1"})
                assert other.json()["error"]["code"] == "key_reused"
    assert answers[0] == answers[1]

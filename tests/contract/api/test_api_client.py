"""The client against a real server: the nouns come back as they went."""

from __future__ import annotations

import os
import pwd
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from plane_double import PlaneDouble
from plane_server import TOKEN, write_control_json

from ampacity import __version__
from ampacity.api.server import RunningServer
from ampacity.client import Client
from ampacity.model.access import Limits, digest_of
from ampacity.model.errors import (
    AmpacityError,
    BadRequest,
    Conflict,
    InvalidSpec,
    NameTaken,
    NotFound,
    NotRunning,
    Unauthorized,
    UserError,
    VersionMismatch,
)
from ampacity.model.node import NodeCondition
from ampacity.model.view import ProgressPoint
from ampacity.model.workload import ServiceSpec, Wish, WorkloadKind, WorkloadPhase, WorkloadSpec

SPEC = WorkloadSpec(name="hello", kind=WorkloadKind.SERVICE, run="serve", replicas=2, service=ServiceSpec())


def test_a_workload_from_submission_to_its_end(client: Client, plane: PlaneDouble) -> None:
    view = client.submit(SPEC, owner="me")
    ident = view.workload.id
    assert view.spec == SPEC
    assert view.workload.owner == "me"
    assert client.workload("hello") == view
    assert client.status().waiting == 1
    assert client.server_version == __version__
    assert client.scale("hello", 3).desired.replicas == 3
    assert client.resize("hello", 2).desired.size == 2
    assert client.resize("hello", 0).desired.size is None
    stopped = client.stop(ident)
    assert (stopped.desired.wish, stopped.desired.by) == (Wish.STOP, pwd.getpwuid(os.getuid()).pw_name)
    assert client.why(ident).headline == "It waits."
    plane.points = (ProgressPoint(at=1.0, epoch=1, incarnation=0, step=1, tokens=5),)
    assert client.progress(ident) == plane.points
    ender = threading.Timer(0.1, plane.end, [ident])
    ender.start()
    assert client.wait(ident, 30).workload.phase is WorkloadPhase.SUCCEEDED
    ender.join()


def test_a_key_stays_with_who_made_it(client: Client, plane: PlaneDouble) -> None:
    made = client.create_key("alice", limits=Limits(concurrency=2), models=["writer"])
    assert made.secret.startswith("amp-")
    assert made.secret not in repr(made)
    (kept,) = plane.keys.all()
    assert (kept.digest, kept.shown) == (digest_of(made.secret), made.secret[-4:])
    assert made.secret not in repr(kept)
    assert client.limit_key("alice", Limits(tokens_per_minute=5)).limits == Limits(tokens_per_minute=5)
    assert (client.limit_key(made.key.id, Limits()),) == client.api_keys()
    assert client.revoke_key("alice").revoked_at is not None
    assert (client.api_keys(), len(client.api_keys(all=True))) == ((), 1)
    assert client.set_limits(Limits(concurrency=3), weight=2).weight == 2
    assert client.limits().limits == Limits(concurrency=3)


def test_errors_come_back_as_their_types(client: Client, plane: PlaneDouble) -> None:
    client.submit(SPEC)
    with pytest.raises(NameTaken, match="taken") as taken:
        client.submit(SPEC)
    assert taken.value.hint == "Choose another name."
    with pytest.raises(NotFound):
        client.why("nobody")
    with pytest.raises(InvalidSpec) as wrong:
        client.scale("hello", -1)
    assert wrong.value.where.key == "replicas"
    plane.end(client.workload("hello").workload.id)
    with pytest.raises(Conflict):
        client.stop("hello")


def test_a_wait_has_a_limit(client: Client) -> None:
    client.submit(SPEC)
    with pytest.raises(TimeoutError, match="hello has not ended"):
        client.wait("hello", 0.1)
    with pytest.raises(NotFound):
        client.wait("nobody", 0.1)


def test_all_pages_of_a_listing(client: Client, plane: PlaneDouble) -> None:
    for index in range(7):
        plane.add(f"w{index}", created_at=float(index), phase="failed" if index % 2 else "waiting")
    assert [view.workload.name for view in client.workloads(all=True, page=3)] == [f"w{i}" for i in range(6, -1, -1)]
    assert [view.workload.name for view in client.workloads()] == ["w6", "w4", "w2", "w0", "w5", "w3", "w1"]
    assert [view.workload.name for view in client.workloads(phases=["failed"], kinds=["task"])] == ["w5", "w3", "w1"]


def test_nodes_models_and_shutdown(client: Client, plane: PlaneDouble, tmp_path: Path) -> None:
    assert [view.node.id for view in client.nodes()] == ["n0", "n1"]
    assert client.set_condition("n0", NodeCondition.CORDONED).node.condition is NodeCondition.CORDONED
    with pytest.raises(InvalidSpec):
        client.set_condition("n0", NodeCondition.UNKNOWN)
    added = client.add_model("org/tiny", tmp_path, tags=["best"], run="w1", step=3, data=["corpus"])
    assert added.lineage.checkpoint == str(tmp_path)
    assert client.models() == client.models("org/tiny") == (added,)
    assert client.model("org/tiny:best") == added
    assert client.remove_model("org/tiny:1") == added
    client.shutdown(workloads=True)
    assert plane.shutdowns == [True]


def test_over_tcp_with_the_token(server: RunningServer, plane: PlaneDouble) -> None:
    with Client(url=server.url, token=TOKEN) as client:
        assert client.status().nodes == 2
    for token in (None, "wrong"):
        with Client(url=server.url, token=token) as client, pytest.raises(Unauthorized):
            client.status()


def test_logs_and_events_up_to_now(client: Client, plane: PlaneDouble) -> None:
    ident = client.submit(SPEC).workload.id
    plane.say(ident, "a\u2028b\x85c", *(str(index) for index in range(1500)))
    texts = [record.text for record in client.logs("hello")]
    assert texts[:2] == ["a\u2028b\x85c", "0"]
    assert len(texts) == 1501
    assert [record.text for record in client.logs(ident, tail=2)] == ["1498", "1499"]
    assert [event.seq for event in client.events()] == [1]
    assert list(client.events(after=1)) == []


def test_many_threads_share_one_client(client: Client) -> None:
    def work(index: int) -> str:
        view = client.submit(replace(SPEC, name=f"w{index}"))
        return client.workload(view.workload.id).workload.name

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(work, range(100))) == sorted(f"w{index}" for index in range(100))


def test_another_release_is_named_when_it_is_not_understood(
    client: Client, plane: PlaneDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampacity.api.edge.__version__", "0.98.7")
    assert client.status().nodes == 2
    assert client.server_version == "0.98.7"
    with pytest.raises(BadRequest, match=f"runs Ampacity 0.98.7, this client is {__version__}"):
        client._link.call("GET", "/of-another-release", dict)
    monkeypatch.setattr(plane, "status", lambda: {"phase": "new"})
    with pytest.raises(AmpacityError, match=r"was not understood: .*`version`.* runs Ampacity 0\.98\.7") as strange:
        client.status()
    assert "pip install ampacity==0.98.7" in strange.value.hint


def test_another_major_release_is_refused_by_both_ends(
    client: Client, unix: httpx.Client, plane: PlaneDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = unix.get("/workloads", headers={"User-Agent": "ampacity/7.0.1"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (426, "version_mismatch")
    assert unix.get("/workloads", headers={"User-Agent": "ampacity/0.7.1"}).status_code == 200
    assert unix.get("/workloads", headers={"User-Agent": "ampacity-like/7.0.1"}).status_code == 200
    assert plane.calls == {"workloads": 4}  # live and ended, twice
    monkeypatch.setattr("ampacity.api.edge.__version__", "9.8.7")
    for ask in (lambda: list(client.workloads()), lambda: next(client.events()), lambda: client.stop("x")):
        with pytest.raises(VersionMismatch, match=f"runs Ampacity 9.8.7, this client is {__version__}") as mismatch:
            ask()
        assert "pip install ampacity==9.8.7" in mismatch.value.hint
    client.status()
    client.shutdown()
    assert plane.shutdowns == [False]


def test_another_prefix_of_the_api_is_named(server: RunningServer) -> None:
    transport = httpx.HTTPTransport(uds=server.socket_path, verify=False)
    with httpx.Client(transport=transport, base_url="http://localhost", trust_env=False) as http:
        refused = http.get("/api/v2/status")
    assert (refused.status_code, refused.json()["error"]["code"]) == (426, "version_mismatch")
    assert f"Ampacity {__version__}" in refused.json()["error"]["message"]
    assert "/api/v1" in refused.json()["error"]["hint"]


def test_a_minor_release_is_told_once(state: Path, plane: PlaneDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with Client(state, on_other_release=told.append) as client:
        client.status()
        monkeypatch.setattr("ampacity.api.edge.__version__", "0.98.7")
        client.status()
        assert list(client.workloads()) == []
    assert told == ["0.98.7"]


def test_listings_are_read_to_their_end(client: Client, plane: PlaneDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.add_nodes(2500)
    for version in range(3):
        client.add_model("b", "/b", tags=[str(version)])
    client.add_model("a", "/a")
    ids = [view.node.id for view in client.nodes()]
    assert ids == sorted(set(ids))
    assert len(ids) == 2502
    assert plane.calls["nodes"] == 3
    assert [model.version for model in client.models("b")] == [3, 2, 1]


def test_somebody_else_behind_the_address_is_not_taken_for_a_control_plane() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Page) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with Client(url=f"http://127.0.0.1:{other.server_port}") as client:
            for ask in (client.status, lambda: next(client.events())):
                with pytest.raises(NotRunning, match="no Ampacity control plane"):
                    ask()
        other.shutdown()


def test_a_silent_server_is_given_up(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        path = folder / "api.sock"
        silent.bind(str(path))
        silent.listen()
        write_control_json(folder, socket=str(path))
        with Client(folder, timeout_s=0.1) as client, pytest.raises(NotRunning, match=r"within 0\.1 s"):
            client.status()


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:99999999", "http://[::", "ftp://127.0.0.1"])
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with Client(url=url) as client, pytest.raises(UserError):
        client.status()


@pytest.mark.parametrize("ref", ["", "a/why", "/", ".."])
def test_a_name_that_cannot_be_is_not_asked_for(client: Client, plane: PlaneDouble, ref: str) -> None:
    with pytest.raises(NotFound, match="cannot be the name"):
        client.workload(ref)
    assert plane.calls == {}


@pytest.mark.parametrize("ref", ["a b", "a?b#c", "ü", "%2e", "a\\b"])
def test_strange_names_are_asked_for_as_they_are(client: Client, ref: str) -> None:
    with pytest.raises(NotFound) as missing:
        client.workload(ref)
    assert missing.value.message == f"There is no workload {ref!r} in default."
